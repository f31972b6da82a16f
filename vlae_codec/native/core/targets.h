/* Which targets are compiled for this architecture, best first, and whether the processor has what one takes. */
#ifndef VLAE_TARGETS_H
#define VLAE_TARGETS_H

#include "kernels.h"

#if defined __x86_64__
#include <cpuid.h>

#define FOR_TARGETS(DO) DO(amx) DO(avx512vnni) DO(avxvnni) DO(avx512) DO(avx2) DO(sse2) DO(generic)

static uint64_t enabled_registers(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has_bits(uint32_t leaf, uint32_t sub, int reg, uint32_t bits)
{
    uint32_t r[4] = {0};
    return __get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]) && (r[reg] & bits) == bits;
}

static int has_avx2(void)
{
    const uint32_t fma = 1u << 12, xsave = 1u << 27, avx = 1u << 28;
    return has_bits(1, 0, 2, fma | xsave | avx) && (enabled_registers() & 6) == 6 && has_bits(7, 0, 1, 1u << 5);
}

static int has_avx512(void)
{
    const uint32_t f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
    return has_avx2() && has_bits(7, 0, 1, f | dq | cd | bw | vl) && (enabled_registers() & 0xe6) == 0xe6;
}

static int has_sse2(void)
{
    return 1; /* every x86-64 has it */
}

static int has_avxvnni(void)
{
    return has_avx2() && has_bits(7, 1, 0, 1u << 4);
}

static int has_avx512vnni(void)
{
    return has_avx512() && has_bits(7, 0, 2, 1u << 11);
}

static int has_amx(void)
{
#if defined __linux__ /* which hands out the tiles' registers on request */
    const uint32_t tile = 1u << 24, int8 = 1u << 25;
    if (!has_avx512vnni() || !has_bits(7, 0, 3, tile | int8) || (enabled_registers() >> 17 & 3) != 3)
        return 0;
    long number = 158 /* arch_prctl */, request = 0x1023 /* ARCH_REQ_XCOMP_PERM */, feature = 18, result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(request), "S"(feature) : "rcx", "r11", "memory");
    return result == 0;
#else
    return 0;
#endif
}

#elif defined __aarch64__
#define FOR_TARGETS(DO) DO(i8mm) DO(dotprod) DO(neon) DO(generic)

#if defined __linux__
#include <sys/auxv.h>
static int has_dotprod(void)
{
    return (getauxval(AT_HWCAP) >> 20 & 1) != 0;
}
static int has_i8mm(void)
{
    return has_dotprod() && (getauxval(AT_HWCAP2) >> 13 & 1) != 0;
}
#elif defined __APPLE__
#include <sys/sysctl.h>
static int has_feature(const char *name)
{
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value;
}
static int has_dotprod(void)
{
    return has_feature("hw.optional.arm.FEAT_DotProd");
}
static int has_i8mm(void)
{
    return has_dotprod() && has_feature("hw.optional.arm.FEAT_I8MM");
}
#else
static int has_dotprod(void)
{
    return 0;
}
static int has_i8mm(void)
{
    return 0;
}
#endif
static int has_neon(void)
{
    return 1;
}

#elif defined __wasm_simd128__
#define FOR_TARGETS(DO) DO(simd128)

static int has_simd128(void)
{
    return 1; /* a module that has it loads nowhere else */
}

#else
#define FOR_TARGETS(DO) DO(generic)
#endif

static inline int has_generic(void)
{
    return 1;
}

#endif
