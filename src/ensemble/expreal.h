/*
  exp(x) in double precision by single IEEE operations, which vectorize: the same bits on every kind of vector. Within 2 units in
  the last place for |x| <= 708, beyond which x is cut off; a NaN stays one.
*/
#ifndef KALMIA_EXPREAL_H
#define KALMIA_EXPREAL_H

#include <kalmia/types.h>

#include <stdint.h>
#include <string.h>

/* Cody and Waite's reduction by log 2 in two pieces, and Taylor's polynomial of degree 13 on [-log 2/2, log 2/2], whose rest is 4e-18. */
static inline double KalExpReal(double x)
{
  const double shift = 6755399441055744.0; /* 1.5 2^52: what is added to it is rounded to a whole number */
  const double c     = x < -708.0 ? -708.0 : (x > 708.0 ? 708.0 : x);
  const double whole = c * 1.4426950408889634 + shift, n = whole - shift;
  const double r = (c - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double       p = 1.6059043836821613e-10, scale;
  int64_t      bits;

  p = p * r + 2.08767569878681e-09;
  p = p * r + 2.505210838544172e-08;
  p = p * r + 2.755731922398589e-07;
  p = p * r + 2.7557319223985893e-06;
  p = p * r + 2.48015873015873e-05;
  p = p * r + 1.984126984126984e-04;
  p = p * r + 1.3888888888888889e-03;
  p = p * r + 8.333333333333333e-03;
  p = p * r + 4.1666666666666664e-02;
  p = p * r + 1.6666666666666666e-01;
  p = p * r + 0.5;
  p = p * (r * r) + r;
  memcpy(&bits, &whole, sizeof bits);
  bits = (int64_t)((uint64_t)(bits + 1023) << 52); /* the low bits of `whole` are n */
  memcpy(&scale, &bits, sizeof scale);
  return scale + scale * p;
}

#endif
