/* One target's kernels: compiled once for each, with -DTARGET_name and that target's instructions. With VLAE_DECODER
 * nothing is there that only a fit or a search for an origin needs. */
#include "coefficients.h"
#if defined VLAE_DECODER
#include "latents.h"
#define fit_scratch NULL
#define fit_block NULL
#define search_blocks NULL
#else
#include "fit.h"
#include "recover.h"
#endif

#define JOIN(a, b) a##b
#define NAMED(name) JOIN(vlae_kernels_, name)
#define TEXT(name) #name
#define QUOTED(name) TEXT(name)

const struct vlae_kernels NAMED(TARGET) = {
    QUOTED(TARGET), pack_size,      pack,     fits, layer_sizes, merge,     scratch_size,    run,       intervals,   pop_rows,
    pixel_rows,     band_intervals, pop_band, learn_scratch, learn_intervals, prior_scratch, prior_intervals, pop_prior, fit_scratch, fit_block,
    search_blocks,  code_coefficients,
};
