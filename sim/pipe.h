// How a harness talks: little-endian 32-bit words, commands on stdin and answers on stdout.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

inline bool get(uint32_t& word) { return std::fread(&word, sizeof word, 1, stdin) == 1; }

inline uint32_t need() {
    uint32_t word;
    if (!get(word)) std::exit(3);  // the other end has gone
    return word;
}

inline void put(uint32_t word) { std::fwrite(&word, sizeof word, 1, stdout); }
