// Limbs as words of 32 bits, for frameworks in which integers of 64 bits may be switched off: JAX adds them over devices.
//
// A limb is two words, its low 16 bits and the rest, so that those of 2^15 parts can be added; a limb of what is not finite
// is three, one for each of its fields.
#pragma once

#include <cstdint>

#include "exact_limbs.hpp"

namespace backnorm {

constexpr int word_bits = 16, words_of_sum = 2, words_of_special = 3;

// How the limbs of a channel (or of one side of it) are made up: so many of sums, and then so many of what is not finite.
struct LimbRow {
    int sums, specials;

    constexpr int limbs() const { return sums + specials; }
    constexpr int words() const { return words_of_sum * sums + words_of_special * specials; }
};

constexpr LimbRow moment_row{moment_limbs - 1, 1}, comoment_row{comoment_limbs - 2, 2};

inline void to_words(const int64_t* limbs, const LimbRow& row, int32_t* words) {
    for (int k = 0; k < row.sums; ++k, ++limbs) {
        *words++ = int32_t(*limbs & ((int64_t(1) << word_bits) - 1));
        *words++ = int32_t(*limbs >> word_bits);
    }
    for (int k = 0; k < row.specials; ++k, ++limbs)
        for (int field = 0; field < words_of_special; ++field)
            *words++ = int32_t(*limbs >> (field * special_bits) & ((int64_t(1) << special_bits) - 1));
}

inline void from_words(const int32_t* words, const LimbRow& row, int64_t* limbs) {
    for (int k = 0; k < row.sums; ++k, words += words_of_sum)
        *limbs++ = words[0] + int64_t(words[1]) * (int64_t(1) << word_bits);
    for (int k = 0; k < row.specials; ++k, words += words_of_special)
        *limbs++ = words[0] | int64_t(words[1]) << special_bits | int64_t(words[2]) << (2 * special_bits);
}

}  // namespace backnorm
