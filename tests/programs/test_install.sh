#!/usr/bin/env bash
# labels: install
# An installed Kalmia serves a program outside its tree, by its CMake package and by pkg-config.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quiet() {
  "$@" >log 2>&1 || { tail -n 40 log; return 1; }
}

tree=$scratch/kalmia
check "cmake --install into an empty folder" quiet cmake --install "$KALMIA_BUILD" --prefix "$tree" || summary
for program in "$KALMIA_SOURCE"/apps/*.c; do
  name=$(basename "$program" .c)
  check "program $name is installed" [ -x "$tree/bin/$name" ]
  check "program $name finds its libraries" bash -c "! ldd '$tree/bin/$name' | grep 'not found'"
  check "program $name starts from where it is installed" bash -c "ldd '$tree/bin/$name' | grep -q '$tree/.*/libkalmia' || ! ldd '$tree/bin/$name' | grep -q libkalmia"
done
check "no path of the build is left in the installed files" bash -c "! grep -rlF '$KALMIA_BUILD' '$tree/include' \$(find '$tree' -name '*.cmake' -o -name '*.pc')"

# The tree may be moved.
mv "$tree" "$scratch/moved"
tree=$scratch/moved
module=$(dirname "$(find "$tree" -name kalmia.pc)")

check "the consumer's CMake project finds Kalmia" quiet cmake -S "$KALMIA_SOURCE/tests/consumer" -B by-cmake -DCMAKE_PREFIX_PATH="$tree"
check "the consumer builds with CMake" quiet cmake --build by-cmake
run 2 by-cmake/consumer >by-cmake.out
check "built with CMake it prints the mean on 2 ranks" [ "$(cat by-cmake.out)" = "mean: 2.5 3.5 4.5" ]

export PKG_CONFIG_PATH="$module${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
check "pkg-config knows kalmia" pkg-config --exists --print-errors kalmia
# shellcheck disable=SC2046 # flags are words
check "the consumer builds with pkg-config" quiet "${CC:-cc}" -std=c11 "$KALMIA_SOURCE/tests/consumer/consumer.c" -o by-pkgconfig \
  $(pkg-config --cflags kalmia) $(pkg-config --libs kalmia) "-Wl,-rpath,$(pkg-config --variable=libdir kalmia)"
run 2 ./by-pkgconfig >by-pkgconfig.out
check "built with pkg-config it prints the mean on 2 ranks" [ "$(cat by-pkgconfig.out)" = "mean: 2.5 3.5 4.5" ]
check "both report the version of kalmia.h" [ "$(pkg-config --modversion kalmia)" = "$(sed -n 's/^#define KALMIA_VERSION "\(.*\)"/\1/p' "$tree/include/kalmia/types.h")" ]
summary
