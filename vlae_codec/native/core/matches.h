/* Which matches zlib's deflate would take: its hash chains and its lazy evaluation, simulated over the tokens of a stream.
 *
 * The simulation says at each token which one zlib would make next; where the stream has another, that is a correction,
 * and the simulation goes on behind it. A correction is three uint32: how many tokens before it were as predicted, the
 * length (0 a literal; of a stored block the bytes), and where: 0 no distance, 1 + 2 * k the k-th occurrence back of as
 * many bytes, 2 * distance where that one is too far back. With the corrections the same loop makes the tokens.
 */
#ifndef VLAE_MATCHES_H
#define VLAE_MATCHES_H

#include "deflate.h"

enum { MIN_MATCH = 3, MAX_MATCH = 258, MARGIN = MAX_MATCH + MIN_MATCH + 1, HEADS = 1 << 16 };
enum { WINDOW = 1 << 15, MOST_HOPS = 4096, CORRECTION = 3, WORK = 600 };
enum { GREEDY, LAZY, RUNS, HUFFMAN };
enum { COUNT, CORRECT, RESTORE };

typedef struct {
    uint32_t head[HEADS], previous[WINDOW]; /* places of strings of one hash, the last first; place 0 ends a chain */
    const uint8_t *plain;
    int64_t size, inserted; /* strings that begin before it are in the chains */
    int64_t least; /* bytes of a string */
    int64_t work; /* places that may still be tried */
    vlae_matcher how;
    uint32_t mask, far;
    int shift;
} vlae_chains;

typedef struct {
    uint32_t length, distance;
} vlae_match;

static inline int check_matcher(const vlae_matcher *how)
{
    return how->rule >= GREEDY && how->rule <= HUFFMAN && how->window_bits >= 9 && how->window_bits <= 15
        && how->hash_bits >= 8 && how->hash_bits <= 16 && how->chain >= 1 && how->chain <= MOST_HOPS && how->good >= 0
        && how->lazy >= 0 && how->nice >= 0 && how->nice <= MAX_MATCH
        && how->far >= 0;
}

static inline void start_chains(vlae_chains *chains, const vlae_matcher *how, const uint8_t *plain, int64_t size)
{
    memset(chains->head, 0, sizeof chains->head);
    memset(chains->previous, 0, sizeof chains->previous);
    chains->plain = plain;
    chains->size = size;
    chains->inserted = 0;
    chains->work = WORK * size + (1 << 22);
    chains->how = *how;
    chains->mask = (1u << how->window_bits) - 1;
    chains->far = (1u << how->window_bits) - MARGIN;
    chains->least = how->quads ? MIN_MATCH + 1 : MIN_MATCH;
    chains->shift = (how->hash_bits + 2) / 3;
}

static inline void insert_to(vlae_chains *chains, int64_t end) /* the strings that begin before the end */
{
    int64_t last = chains->size - chains->least + 1;
    uint32_t heads = (1u << chains->how.hash_bits) - 1;
    int shift = chains->shift;
    int64_t p = chains->inserted;
    for (; p < end && p < last; p++) {
        const uint8_t *s = chains->plain + p;
        uint32_t hash = ((uint32_t)s[0] << 2 * shift ^ (uint32_t)s[1] << shift ^ s[2]) & heads;
        if (chains->how.quads)
            hash = (s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24) * 2654435761u >> 16;
        uint32_t *head = &chains->head[hash];
        chains->previous[p & chains->mask] = *head;
        *head = (uint32_t)p;
    }
    chains->inserted = end > chains->inserted ? end : chains->inserted;
}

static inline uint32_t common(const uint8_t *a, const uint8_t *b, uint32_t most)
{
    uint32_t n = 0;
    while (n + 8 <= most && memcmp(a + n, b + n, 8) == 0)
        n += 8;
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

/* The best match at p that is longer than `least`; the length is `least` where there is none. */
static inline vlae_match search(vlae_chains *chains, int64_t p, uint32_t least)
{
    const vlae_matcher *how = &chains->how;
    const uint8_t *plain = chains->plain, *scan = plain + p;
    int64_t left = chains->size - p;
    vlae_match best = {least, 0};
    if (left < chains->least)
        return (vlae_match){MIN_MATCH - 1, 0};
    insert_to(chains, p + 1);
    uint32_t at = chains->previous[p & chains->mask], most = left < MAX_MATCH ? (uint32_t)left : MAX_MATCH;
    uint32_t nice = (uint32_t)how->nice < most ? (uint32_t)how->nice : most;
    int hops = (int)least >= how->good ? how->chain >> 2 : how->chain;
    uint32_t limit = p > chains->far ? (uint32_t)p - chains->far : 0;
    if (at == 0 || at >= p || p - at > chains->far)
        return (vlae_match){MIN_MATCH - 1, 0};
    do {
        const uint8_t *match = plain + at;
        chains->work--;
        if (best.length >= most || match[best.length] != scan[best.length] || match[0] != scan[0])
            continue;
        uint32_t length = common(match, scan, most);
        chains->work -= length >> 4;
        if (length > best.length) {
            best = (vlae_match){length, (uint32_t)p - at};
            if (length >= nice)
                break;
        }
    } while ((at = chains->previous[at & chains->mask]) > limit && at < p && --hops != 0);
    if (how->rule == LAZY && best.length <= 5
        && (how->filtered || (best.length == MIN_MATCH && best.distance > (uint32_t)how->far)))
        best.length = MIN_MATCH - 1;
    return best;
}

static inline vlae_match search_run(const vlae_chains *chains, int64_t p)
{
    const uint8_t *scan = chains->plain + p;
    int64_t left = chains->size - p;
    uint32_t length = p > 0 && left >= MIN_MATCH ? common(scan - 1, scan, left < MAX_MATCH ? (uint32_t)left : MAX_MATCH) : 0;
    return (vlae_match){length, 1};
}

/* What zlib takes at p. `next` is the match found at p where its predecessor lost to it, length 0 where there is none;
 * it is changed to that for p + 1. */
static inline vlae_match predict(vlae_chains *chains, int64_t p, vlae_match *next)
{
    const vlae_matcher *how = &chains->how;
    vlae_match here = *next, later;
    *next = (vlae_match){0, 0};
    if (how->rule == HUFFMAN)
        return *next;
    if (how->rule == RUNS)
        here = search_run(chains, p);
    else if (here.length == 0)
        here = search(chains, p, MIN_MATCH - 1);
    if (here.length < MIN_MATCH)
        return *next;
    if (how->rule == LAZY && here.length < (uint32_t)how->lazy) {
        later = search(chains, p + 1, here.length);
        if (later.length > here.length) {
            *next = later;
            return (vlae_match){0, 0};
        }
    }
    return here;
}

/* The distance of the k-th occurrence back of so many bytes at p, and the other way round; 0 where it is too far back. */
static inline uint32_t occurrence(vlae_chains *chains, int64_t p, uint32_t length, uint32_t *rank, uint32_t distance)
{
    uint32_t seen = 0, at;
    if (chains->size - p < chains->least || p < 1)
        return 0;
    insert_to(chains, p + 1);
    at = (uint32_t)p;
    for (int hops = 0; hops < MOST_HOPS; hops++) {
        uint32_t before = chains->previous[at & chains->mask];
        if (before == 0 || before >= at || p - before > WINDOW)
            return 0;
        at = before;
        chains->work -= 1 + (length >> 4);
        if (common(chains->plain + at, chains->plain + p, length) < length)
            continue;
        if (distance ? distance == p - at : seen == *rank) {
            *rank = seen;
            return (uint32_t)p - at;
        }
        seen++;
    }
    return 0;
}

/* The number of corrections, which COUNT does not write, or of tokens to RESTORE. VLAE_ARGUMENT: there is no room for more
 * of them, or too many places were tried; VLAE_EMPTY: the corrections make no stream. */
static inline int64_t walk(vlae_chains *chains, uint32_t *tokens, int64_t count, uint32_t *corrections, int64_t corrected,
                           int what)
{
    int restore = what == RESTORE;
    int64_t p = 0, made = 0, n = 0;
    uint32_t alike = 0;
    vlae_match next = {0, 0};
    for (; restore ? p < chains->size : n < count; n++) {
        if (n >= count || chains->work < 0)
            return VLAE_ARGUMENT;
        if (p >= chains->size)
            return VLAE_EMPTY;
        vlae_match found = predict(chains, p, &next);
        uint32_t token = found.length ? found.distance << 16 | found.length : 0, *correction = corrections + CORRECTION * made;
        if (!restore && token != tokens[n]) {
            if (made >= corrected || chains->work < 0)
                return VLAE_ARGUMENT;
            token = tokens[n];
            uint32_t length = length_of(token), rank = 0, distance = token >> 16;
            if (distance && (distance > p || length > chains->size - p))
                return VLAE_EMPTY;
            if (what == CORRECT) {
                correction[0] = alike;
                correction[1] = token & 0xffff;
                correction[2] = distance && occurrence(chains, p, length, &rank, distance) ? 1 + 2 * rank : 2 * distance;
            }
        } else if (restore && made < corrected && correction[0] == alike) {
            uint32_t where = correction[2], rank = where / 2, distance = where / 2, length = correction[1];
            if (length > 0xffff || (where && (length < MIN_MATCH || length > LONG_258)))
                return VLAE_EMPTY;
            uint32_t covered = where && length == LONG_258 ? 258 : length;
            if (covered > chains->size - p)
                return VLAE_EMPTY;
            if (where & 1)
                distance = occurrence(chains, p, covered, &rank, 0);
            if (where && (distance == 0 || distance > p || distance > WINDOW))
                return VLAE_EMPTY;
            token = distance << 16 | length;
        } else {
            tokens[n] = token;
            alike++;
            correction = NULL;
        }
        if (correction) {
            tokens[n] = token;
            alike = 0;
            made++;
            next = (vlae_match){0, 0};
        }
        uint32_t covered = token ? length_of(token) : 1;
        if (covered > chains->size - p)
            return VLAE_EMPTY;
        if (chains->how.rule <= LAZY) {
            insert_to(chains, p + 1);
            if (chains->how.rule == LAZY || covered <= (uint32_t)chains->how.lazy || token >> 16 == 0)
                insert_to(chains, p + covered);
            else
                chains->inserted = p + covered;
        }
        p += covered;
    }
    if (restore && made != corrected)
        return VLAE_EMPTY;
    return restore ? n : made;
}

#endif
