/* Range ANS on a stack, one symbol at a time; `ans.py` has the theory. 2^32 <= head < 2^64 before and after. */
#ifndef VLAE_ANS_H
#define VLAE_ANS_H

#include "vlae.h"

/* Pushes [start, start + freq) of 2^precision to a lane. The caller has room for one more word, and 1 <= freq. */
static inline void push_symbol(vlae_stack *stack, int64_t lane, uint64_t start, uint64_t freq, int precision)
{
    uint64_t head = stack->heads[lane];
    if (head >> (64 - precision) >= freq) {
        stack->words[stack->size++] = (uint32_t)head;
        head >>= 32;
    }
    uint64_t row = head / freq;
    stack->heads[lane] = (row << precision) + start + (head - row * freq);
}

/* Removes the symbol that owns the lane's lowest bits; VLAE_EMPTY, nothing changed, when there is no word to take. */
static inline int pop_symbol(vlae_stack *stack, int64_t lane, uint64_t start, uint64_t freq, int precision)
{
    uint64_t head = stack->heads[lane], cf = head & (((uint64_t)1 << precision) - 1);
    head = freq * (head >> precision) + cf - start;
    if (head >> 32 == 0) {
        if (stack->size == 0)
            return VLAE_EMPTY;
        head = head << 32 | stack->words[--stack->size];
    }
    stack->heads[lane] = head;
    return VLAE_OK;
}

#endif
