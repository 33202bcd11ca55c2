// SPDX-License-Identifier: MIT
// A Rust project's test against assay's vectors, without any crate; with the crate `safetensors`,
// `SafeTensors::deserialize` replaces `tensor` and `serialize_to_file` the end of `main`.
//
//   assay export cases/smoke/q4_K_gemv.json --dir vectors
//   rustc --edition 2021 -O vectors.rs && ./vectors vectors got.safetensors
//   assay judge vectors --got got.safetensors
use std::{env, fs, io, path::Path, process};

/// The bytes of a tensor. assay writes the header without spaces and `dtype` first.
fn tensor<'a>(file: &'a [u8], name: &str) -> &'a [u8] {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (header, data) = file[8..].split_at(length);
    let header = std::str::from_utf8(header).unwrap();
    let entry = header.split_once(&format!("\"{name}\":{{\"dtype\"")).expect(name).1;
    let offsets = entry.split_once("\"data_offsets\":[").unwrap().1.split_once(']').unwrap().0;
    let (begin, end) = offsets.split_once(',').unwrap();
    &data[begin.parse().unwrap()..end.parse().unwrap()]
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn f64s(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn f16(low: u8, high: u8) -> f32 {
    let bits = u16::from_le_bytes([low, high]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

/// The 256 weights of a Q4_K block.
fn dequantize(block: &[u8]) -> Vec<f32> {
    let (d, dmin) = (f16(block[0], block[1]), f16(block[2], block[3]));
    let (scales, digits) = (&block[4..16], &block[16..]);
    let mut weights = Vec::with_capacity(256);
    for j in 0..8 {
        let (sc, m) = if j < 4 {
            (scales[j] & 63, scales[j + 4] & 63)
        } else {
            (scales[j + 4] & 15 | scales[j - 4] >> 6 << 4, scales[j + 4] >> 4 | scales[j] >> 6 << 4)
        };
        for q in &digits[j / 2 * 32..j / 2 * 32 + 32] {
            let digit = if j % 2 == 0 { q & 15 } else { q >> 4 };
            weights.push(d * f32::from(sc) * f32::from(digit) - dmin * f32::from(m));
        }
    }
    weights
}

/// The code under test: a serial sum in f32.
fn gemv(w: &[u8], x: &[f32]) -> Vec<f32> {
    let dot = |row: &[u8]| {
        let weights = row.chunks_exact(144).flat_map(dequantize);
        weights.zip(x).map(|(w, x)| w * x).sum()
    };
    w.chunks_exact(x.len() / 256 * 144).map(dot).collect()
}

/// The first element that is wrong.
fn first_wrong(expected: &[u8], got: &[f32]) -> Option<usize> {
    let (value, rule) = (f64s(tensor(expected, "y")), tensor(expected, "y.rule"));
    let tolerance = f64s(tensor(expected, "y.tolerance.f32"));
    (0..got.len()).find(|&i| match rule[i] {
        0 => false,
        1 => !((f64::from(got[i]) - value[i]).abs() <= tolerance[i]),
        _ => got[i].is_finite(),
    })
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let (mut entries, mut data, mut failures) = (Vec::new(), Vec::new(), 0);
    for file in fs::read_dir(&arguments[1])? {
        let name = file?.file_name().into_string().unwrap();
        let Some(id) = name.strip_suffix(".inputs.safetensors") else { continue };
        let inputs = fs::read(Path::new(&arguments[1]).join(&name))?;
        let expected = fs::read(Path::new(&arguments[1]).join(format!("{id}.expected.safetensors")))?;
        let offset = id.split_once("_w_offset=").map_or(0, |(_, rest)| {
            rest.split('_').next().unwrap().parse::<usize>().unwrap()
        });
        let y = gemv(&tensor(&inputs, "w")[offset..], &f32s(tensor(&inputs, "x")));
        if let Some(i) = first_wrong(&expected, &y) {
            println!("{id}: y[{i}] = {}", y[i]);
            failures += 1;
        }
        let begin = data.len();
        data.extend(y.iter().flat_map(|v| v.to_le_bytes()));
        entries.push(format!(
            "\"{id}/y\":{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[{begin},{}]}}",
            y.len(), data.len()
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(&arguments[2], file)?;
    process::exit(i32::from(failures > 0))
}
