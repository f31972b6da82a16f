/* The innermost product, per target: ROWS rows of activations times a panel of PANEL columns of weights.
 *
 *     sums[r][c] = sum_k rows[r][k] * panel[k][c]        exact int32, whatever the order of summation
 *
 * A panel lies as [input / STEP][column][input % STEP]; all its sums stay in registers. What differs is what an
 * instruction takes:
 *
 *     BYTES    activations as bytes 128 more than what they stand for, weights int8 (x86 VNNI, AMX)
 *     SIGNED   activations and weights int8                                        (ARM dotprod, i8mm)
 *     WORDS    activations like BYTES in int16, weights int16; both digits of a weight in one   (all others)
 *
 * ROWS x VECTORS is what the registers hold without spilling.
 */
#ifndef VLAE_PRODUCT_H
#define VLAE_PRODUCT_H

#include <string.h>

#include "kernels.h"

#define BYTES 1
#define SIGNED 2
#define WORDS 3
#define INLINE static inline __attribute__((always_inline))
#if defined TARGET_simd128 /* browsers compile in haste first, and take better code of a function when it is called again */
#define PER_WAVE static __attribute__((noinline))
#else
#define PER_WAVE INLINE
#endif

#if defined TARGET_amx || defined TARGET_avx512vnni || defined TARGET_avx512
#include <immintrin.h>
#define LANES 16
#if defined TARGET_amx /* two tiles of 16 rows by two of 16 columns */
#define VECTORS 2
#define ROWS 32
#else
#define VECTORS 4
#define ROWS 6
#endif
typedef __m512i vector;
#define SPLAT(p) _mm512_set1_epi32(load32(p))
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, v) _mm512_storeu_si512(p, v)
#define ZERO _mm512_setzero_si512()
#elif defined TARGET_avx2 || defined TARGET_avxvnni
#include <immintrin.h>
#define LANES 8
#define VECTORS 2
#define ROWS 6
typedef __m256i vector;
#define SPLAT(p) _mm256_set1_epi32(load32(p))
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define ZERO _mm256_setzero_si256()
#elif defined TARGET_sse2
#include <immintrin.h>
#define LANES 4
#define VECTORS 2
#define ROWS 4
typedef __m128i vector;
#define SPLAT(p) _mm_set1_epi32(load32(p))
#define LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define ZERO _mm_setzero_si128()
#elif defined TARGET_neon || defined TARGET_dotprod || defined TARGET_i8mm
#include <arm_neon.h>
#define LANES 4
#define VECTORS 4
#define ROWS 6
typedef int32x4_t vector;
#define SPLAT(p) vdupq_n_s32(load32(p))
#define LOAD(p) vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)(p)))
#define STORE(p, v) vst1q_s32((int32_t *)(p), v)
#define ZERO vdupq_n_s32(0)
#elif defined TARGET_simd128
#include <wasm_simd128.h>
#define LANES 4
#define VECTORS 2
#define ROWS 4
typedef v128_t vector;
#define SPLAT(p) wasm_v128_load32_splat(p)
#define LOAD(p) wasm_v128_load(p)
#define STORE(p, v) wasm_v128_store(p, v)
#define ZERO wasm_i32x4_const_splat(0)
#else
#define LANES 4
#define VECTORS 2
#define ROWS 4
#endif

#define PANEL (LANES * VECTORS)

#if defined TARGET_amx
#define KIND BYTES
#define STEP 4
#define UNIT 64 /* inputs of a tile */
#elif defined TARGET_avx512vnni
#define KIND BYTES
#define STEP 4
#define MADD(sum, a, w) _mm512_dpbusd_epi32(sum, a, w)
#elif defined TARGET_avx512
#define KIND WORDS
#define STEP 2
#define MADD(sum, a, w) _mm512_add_epi32(sum, _mm512_madd_epi16(a, w))
#elif defined TARGET_avxvnni
#define KIND BYTES
#define STEP 4
#define MADD(sum, a, w) _mm256_dpbusd_avx_epi32(sum, a, w)
#elif defined TARGET_avx2
#define KIND WORDS
#define STEP 2
#define MADD(sum, a, w) _mm256_add_epi32(sum, _mm256_madd_epi16(a, w))
#elif defined TARGET_sse2
#define KIND WORDS
#define STEP 2
#define MADD(sum, a, w) _mm_add_epi32(sum, _mm_madd_epi16(a, w))
#elif defined TARGET_dotprod
#define KIND SIGNED
#define STEP 4
#define MADD(sum, a, w) vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(w))
#elif defined TARGET_i8mm
#define KIND SIGNED
#define STEP 8
#elif defined TARGET_simd128
#define KIND WORDS
#define STEP 2
#define MADD(sum, a, w) wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, w))
#elif defined TARGET_neon
#define KIND WORDS
#define STEP 1
#else
#define KIND WORDS
#define STEP 2
#endif

#if !defined UNIT
#define UNIT STEP /* inputs are filled up to a multiple of this */
#endif

#if KIND == BYTES
typedef uint8_t activation;
typedef int8_t weight_t;
#define ACTIVATION(byte) (byte) /* from a byte that is 128 more than what it stands for */
#elif KIND == SIGNED
typedef int8_t activation;
typedef int8_t weight_t;
#define ACTIVATION(byte) ((int8_t)((byte) ^ 128))
#else
typedef int16_t activation;
typedef int16_t weight_t;
#define ACTIVATION(byte) ((int16_t)(byte))
#if LANES == 8
#define SPARSE 1 /* it pays to leave out what is zero in all rows of a block: half of the last layer's inputs */
#endif
#endif

INLINE int32_t load32(const void *p)
{
    int32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* What must be done before and after a thread's products. */
INLINE void begin_products(void)
{
#if defined TARGET_amx
    struct {
        uint8_t palette, start, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shape);
#endif
}

INLINE void end_products(void)
{
#if defined TARGET_amx
    _tile_release();
#endif
}

/* vectors: of a panel, only the first so many are needed; list: the steps to take (SPARSE), or NULL for all. */
INLINE void dot(const activation *rows, size_t stride, const weight_t *weights, size_t steps, int32_t *sums,
                int vectors, const uint16_t *list)
{
    (void)vectors;
    (void)list;
#if defined TARGET_amx
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < steps; k += UNIT / STEP, weights += PANEL * UNIT, rows += UNIT) {
        _tile_loadd(4, rows, stride);
        _tile_loadd(5, rows + 16 * stride, stride);
        _tile_loadd(6, weights, PANEL * STEP);
        _tile_loadd(7, weights + LANES * STEP, PANEL * STEP);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums, 4 * PANEL);
    _tile_stored(1, sums + LANES, 4 * PANEL);
    _tile_stored(2, sums + 16 * PANEL, 4 * PANEL);
    _tile_stored(3, sums + 16 * PANEL + LANES, 4 * PANEL);
#elif defined TARGET_i8mm /* 2 rows of 8 by 8 of 2 columns in one instruction */
    int32x4_t s[ROWS / 2][PANEL / 2];
    for (int r = 0; r < ROWS / 2; r++)
        for (int j = 0; j < PANEL / 2; j++)
            s[r][j] = vdupq_n_s32(0);
    for (size_t k = 0; k < steps; k++, weights += PANEL * STEP, rows += STEP) {
        int8x16_t a[ROWS / 2];
        for (int r = 0; r < ROWS / 2; r++)
            a[r] = vcombine_s8(vld1_s8(rows + 2 * r * stride), vld1_s8(rows + (2 * r + 1) * stride));
        for (int j = 0; j < PANEL / 2; j++) {
            int8x16_t w = vld1q_s8(weights + 2 * STEP * j);
            for (int r = 0; r < ROWS / 2; r++)
                s[r][j] = vmmlaq_s32(s[r][j], a[r], w);
        }
    }
    for (int r = 0; r < ROWS / 2; r++)
        for (int j = 0; j < PANEL / 2; j++) {
            vst1_s32(sums + 2 * r * PANEL + 2 * j, vget_low_s32(s[r][j]));
            vst1_s32(sums + (2 * r + 1) * PANEL + 2 * j, vget_high_s32(s[r][j]));
        }
#elif defined TARGET_neon
    int32x4_t s[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < VECTORS; j++)
            s[r][j] = vdupq_n_s32(0);
    for (size_t k = 0; k < steps; k++, weights += PANEL) {
        int16x8_t w0 = vld1q_s16(weights), w1 = vld1q_s16(weights + 8);
        for (int r = 0; r < ROWS; r++) {
            int16x8_t a = vdupq_n_s16(rows[r * stride + k]);
            s[r][0] = vmlal_s16(s[r][0], vget_low_s16(w0), vget_low_s16(a));
            s[r][1] = vmlal_s16(s[r][1], vget_high_s16(w0), vget_low_s16(a));
            s[r][2] = vmlal_s16(s[r][2], vget_low_s16(w1), vget_low_s16(a));
            s[r][3] = vmlal_s16(s[r][3], vget_high_s16(w1), vget_low_s16(a));
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < VECTORS; j++)
            vst1q_s32(sums + r * PANEL + j * LANES, s[r][j]);
#elif defined MADD
    vector s[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < vectors; j++)
            s[r][j] = ZERO;
    for (size_t i = 0; i < steps; i++) {
        const size_t k = list ? list[i] : i;
        vector w[VECTORS];
        for (int j = 0; j < vectors; j++)
            w[j] = LOAD(weights + k * PANEL * STEP + j * LANES * STEP);
        for (int r = 0; r < ROWS; r++) {
            vector a = SPLAT(rows + r * stride + k * STEP);
            for (int j = 0; j < vectors; j++)
                s[r][j] = MADD(s[r][j], a, w[j]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < vectors; j++)
            STORE(sums + r * PANEL + j * LANES, s[r][j]);
#else
    int32_t s[ROWS][PANEL] = {{0}};
    for (size_t k = 0; k < steps; k++, weights += PANEL * STEP, rows += STEP)
        for (int r = 0; r < ROWS; r++) {
            int32_t a = rows[r * stride], b = rows[r * stride + 1];
            for (int c = 0; c < PANEL; c++)
                s[r][c] += a * weights[2 * c] + b * weights[2 * c + 1];
        }
    memcpy(sums, s, sizeof s);
#endif
}

/* Where a target has them: totals of a row with both digits together, and (total * multiplier + addend) >> shift of those,
 * whose numbers are known to fit. */
#if LANES >= 8
#define QUICK 1
#if LANES == 16
#define OP(name) _mm512_##name
#define BLEND_ODD(even, odd) _mm512_mask_blend_epi32(0xAAAA, even, odd)
#define SPLAT64(v) _mm512_set1_epi64(v)
#else
#define OP(name) _mm256_##name
#define BLEND_ODD(even, odd) _mm256_blend_epi32(even, odd, 0xAA)
#define SPLAT64(v) _mm256_set1_epi64x(v)
#endif
#define CLAMP(v, low, high) OP(min_epi32)(OP(max_epi32)(v, low), high)

INLINE vector totals(const int32_t *sums, int digits)
{
    vector v = LOAD(sums);
    return digits == 2 ? OP(add_epi32)(OP(slli_epi32)(v, VLAE_DIGIT_BITS), LOAD(sums + PANEL / 2)) : v;
}

/* 64-bit products of even and of odd lanes, shifted and brought together. */
INLINE vector requantise(vector total, const int32_t *multiplier, const int64_t *addend, int shift)
{
    vector m = LOAD(multiplier), by = SPLAT64(shift);
    vector even = OP(add_epi64)(OP(mul_epi32)(total, m), LOAD(addend));
    vector odd = OP(mul_epi32)(OP(srli_epi64)(total, 32), OP(srli_epi64)(m, 32));
    odd = OP(srlv_epi64)(OP(add_epi64)(odd, LOAD(addend + LANES / 2)), by);
    return BLEND_ODD(OP(srlv_epi64)(even, by), OP(slli_epi64)(odd, 32));
}
#elif defined TARGET_simd128
#define QUICK 1
#define CLAMP(v, low, high) wasm_i32x4_min(wasm_i32x4_max(v, low), high)

INLINE vector totals(const int32_t *sums, int digits)
{
    vector v = LOAD(sums);
    return digits == 2 ? wasm_i32x4_add(wasm_i32x4_shl(v, VLAE_DIGIT_BITS), LOAD(sums + PANEL / 2)) : v;
}

INLINE vector requantise(vector total, const int32_t *multiplier, const int64_t *addend, int shift)
{
    vector m = LOAD(multiplier);
    vector first = wasm_i64x2_add(wasm_i64x2_extmul_low_i32x4(total, m), LOAD(addend));
    vector second = wasm_i64x2_add(wasm_i64x2_extmul_high_i32x4(total, m), LOAD(addend + LANES / 2));
    return wasm_i32x4_shuffle(wasm_i64x2_shr(first, shift), wasm_i64x2_shr(second, shift), 0, 2, 4, 6);
}
#endif

#endif
