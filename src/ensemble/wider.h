/* Functions compiled for wider vectors too, chosen as the program starts. */
#ifndef KALMIA_WIDER_H
#define KALMIA_WIDER_H

/* The bits are the same on every kind of vector, since the build contracts no multiply-adds. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define KAL_WIDER __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define KAL_WIDER
#endif

/* A function that must be compiled with what calls it, to take part in its wider vectors. */
#if defined(__GNUC__)
#define KAL_WITHIN __attribute__((always_inline)) static inline
#else
#define KAL_WITHIN static inline
#endif

#endif
