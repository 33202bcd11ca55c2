// SPDX-License-Identifier: MIT
// The same in Rust, without any crate: the ABI's structs as plain C layouts.
//   rustc --edition 2021 -O --crate-type cdylib -o libmine.so mine.rs
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null;

type Depth = extern "C" fn(*const c_void) -> i64;
type Unsupported = extern "C" fn(*const c_void) -> *const c_char;
type PreparedBytes = extern "C" fn(*const c_void) -> i64;
type Prepare = extern "C" fn(*const c_void, *const c_void, *mut c_void, c_int);
type ScratchBytes = extern "C" fn(*const c_void, c_int) -> i64;
type Run = extern "C" fn(*const c_void, *const c_void, *const c_void, *mut c_void, c_int) -> *const c_char;

#[repr(C)]
pub struct AssayKernel {
    op: *const c_char,
    name: *const c_char,
    tier: *const c_char,
    numerics: u32,
    twin: u32,
    depth: Option<Depth>,
    unsupported: Option<Unsupported>,
    prepared_bytes: Option<PreparedBytes>,
    prepare: Option<Prepare>,
    scratch_bytes: Option<ScratchBytes>,
    run: Option<Run>,
}

#[repr(C)]
pub struct AssayKernels {
    abi_version: u32,
    count: u32,
    library: *const c_char,
    kernels: *const &'static AssayKernel,
}

// The tables are constants; raw pointers alone keep the compiler from knowing.
unsafe impl Sync for AssayKernel {}
unsafe impl Sync for AssayKernels {}

#[repr(C)]
struct GemvShape {
    n: i64,
    k: i64,
    w_offset: i64,
}

#[repr(C)]
struct GemvArgs {
    w: *const u8,
    x: *const f32,
    y: *mut f32,
}

const ASSAY_F32: u32 = 1;

fn f16(low: u8, high: u8) -> f64 {
    let bits = u16::from_le_bytes([low, high]);
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = ((bits >> 10 & 31) as i32, f64::from(bits & 1023));
    match exponent {
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        0 => sign * fraction * 2f64.powi(-24),
        _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

fn scale_min(s: &[u8], j: usize) -> (f64, f64) {
    let (scale, min) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        (s[j + 4] & 15 | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4)
    };
    (f64::from(scale), f64::from(min))
}

fn dot(block: &[u8], x: &[f32]) -> f64 {
    let (d, dmin) = (f16(block[0], block[1]), f16(block[2], block[3]));
    (0..256)
        .map(|i| {
            let (j, byte) = (i / 32, block[16 + 32 * (i / 64) + i % 32]);
            let (scale, min) = scale_min(&block[4..16], j);
            let q = f64::from(if j % 2 == 0 { byte & 15 } else { byte >> 4 });
            (d * scale * q - dmin * min) * f64::from(x[i])
        })
        .sum()
}

extern "C" fn depth(_: *const c_void) -> i64 {
    2
}

extern "C" fn run(shape: *const c_void, args: *const c_void, _: *const c_void, _: *mut c_void, _: c_int) -> *const c_char {
    let (s, a) = unsafe { (&*shape.cast::<GemvShape>(), &*args.cast::<GemvArgs>()) };
    if s.n < 1 || s.k < 256 || s.k % 256 != 0 || s.w_offset < 0 || s.w_offset % 2 != 0 {
        return c"illegal shape".as_ptr();
    }
    let (n, k, offset) = (s.n as usize, s.k as usize, s.w_offset as usize);
    let row_bytes = k / 256 * 144;
    let (w, x, y) = unsafe {
        (
            std::slice::from_raw_parts(a.w.add(offset), n * row_bytes),
            std::slice::from_raw_parts(a.x, k),
            std::slice::from_raw_parts_mut(a.y, n),
        )
    };
    for (row, out) in w.chunks_exact(row_bytes).zip(y) {
        *out = row.chunks_exact(144).zip(x.chunks_exact(256)).map(|(b, x)| dot(b, x)).sum::<f64>() as f32;
    }
    null()
}

static GEMV: AssayKernel = AssayKernel {
    op: c"q4_K_gemv".as_ptr(),
    name: c"rust".as_ptr(),
    tier: c"rust".as_ptr(),
    numerics: ASSAY_F32,
    twin: 0,
    depth: Some(depth),
    unsupported: None,
    prepared_bytes: None,
    prepare: None,
    scratch_bytes: None,
    run: Some(run),
};

struct List([&'static AssayKernel; 1]);
unsafe impl Sync for List {}
static LIST: List = List([&GEMV]);

static TABLE: AssayKernels =
    AssayKernels { abi_version: 1, count: 1, library: c"mine-rs".as_ptr(), kernels: LIST.0.as_ptr() };

#[no_mangle]
pub extern "C" fn assay_kernels() -> *const AssayKernels {
    &TABLE
}
