/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>

#include "ref/moe_router_topk_softmax.h"
#include "ref/op_parts.h"

static void exact_row(int64_t experts, float *logits, struct assay_random *random)
{
    int64_t finite = 1;
    while (finite * 2 <= experts && assay_below(random, 8) != 0)
        finite *= 2;
    float level = (float)(assay_below(random, 41) - 20);
    for (int64_t e = 0; e < experts; e++)
        logits[e] = -INFINITY;
    while (finite > 0) {
        int64_t e = assay_below(random, experts);
        while (logits[e] == level)
            e = (e + 1) % experts;
        logits[e] = level;
        finite--;
    }
}

/* By the token's number. */
enum edge_kind {
    TIES,       /* of logits anywhere */
    TIE_ALL,    /* of all */
    TIES_NEAR,  /* of neighbours, within a vector */
    TIES_FAR,   /* of logits 16 apart, in one lane */
    ULP_GAPS,   /* 1 and its two neighbours */
    ZERO_SIGNS, /* +0 and -0 are equal */
    SUBNORMALS, /* differ, unless they are flushed */
    RISING,
    FAR_BELOW,   /* one logit is 80 to 110 above the others: their p are subnormal or 0 */
    FEW_FINITE,  /* -Inf among finite logits */
    PADDED,      /* -Inf from some expert on */
    LARGE,       /* exp would overflow without - max */
    HUGE_SPREAD, /* up to +-FLT_MAX: logit - max overflows */
    NAN_FIRST,
    NAN_LAST,
    INF_FIRST,
    INF_LAST,
    NAN_ANY,
    INF_ANY,
    ALL_MINUS_INF,
    EDGE_KINDS
};

/* Expert e's logit; g is Gaussian, `finite` says how many experts of a padded row are. */
static float edge_logit(enum edge_kind kind, int64_t e, int64_t finite, double g)
{
    switch (kind) {
    case TIES: return (float)(rint(2 * g) / 4);
    case TIE_ALL: return 1;
    case ULP_GAPS: return g < -0.5 ? nextafterf(1, 0) : g > 0.5 ? nextafterf(1, 2) : 1;
    case ZERO_SIGNS: return g < 0 ? -0.0f : 0.0f;
    case SUBNORMALS: return (float)(g * 1e-40);
    case RISING: return (float)(0.03125 * (double)e);
    case FAR_BELOW: return (float)(-80 - fmin(30, 10 * fabs(g)));
    case FEW_FINITE: return g < 0.5 ? -INFINITY : (float)g;
    case PADDED: return e < finite ? (float)g : -INFINITY;
    case LARGE: return (float)(1e4 + g);
    case HUGE_SPREAD: return fabs(g) > 1.5 ? (float)copysign(FLT_MAX, g) : (float)(g * 1e30);
    case ALL_MINUS_INF: return -INFINITY;
    default: return (float)g;
    }
}

static void edge_row(enum edge_kind kind, int64_t experts, float *logits,
                     struct assay_random *random)
{
    int64_t spot = assay_below(random, experts);
    for (int64_t e = 0; e < experts; e++) {
        logits[e] = edge_logit(kind, e, spot + 1, random->gaussian(random));
        if (kind == TIES_NEAR && e % 2 == 1)
            logits[e] = logits[e - 1];
        if (kind == TIES_FAR && e % 48 >= 16)
            logits[e] = logits[e - 16];
    }
    switch (kind) {
    case FAR_BELOW:
    case FEW_FINITE: logits[spot] = 0; break;
    case NAN_FIRST: logits[0] = assay_f32_from_bits(0x7f800001); break;          /* next to +Inf */
    case NAN_LAST: logits[experts - 1] = assay_f32_from_bits(0xffffffff); break; /* negative */
    case INF_FIRST: logits[0] = INFINITY; break;
    case INF_LAST: logits[experts - 1] = INFINITY; break;
    case NAN_ANY: logits[spot] = NAN; break;
    case INF_ANY: logits[spot] = INFINITY; break;
    default: break;
    }
}

bool moe_router_topk_softmax_fill(const void *shape, const struct assay_fill *how, void *const *t,
                                  struct assay_random *random)
{
    const struct moe_router_topk_softmax_shape *s = shape;
    float *logits = t[0];
    random->start(random, "logits");
    for (int64_t token = 0; token < s->tokens; token++, logits += s->experts) {
        if (how->kind == ASSAY_FILL_EXACT) {
            exact_row(s->experts, logits, random);
        } else if (how->kind == ASSAY_FILL_EDGE) {
            edge_row((enum edge_kind)(token % EDGE_KINDS), s->experts, logits, random);
        } else {
            for (int64_t e = 0; e < s->experts; e++)
                logits[e] = (float)(2 * random->gaussian(random));
        }
    }
    return true;
}
