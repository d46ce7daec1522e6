# SPDX-License-Identifier: MIT
# Sourced. mlx_version; makes_pictures: whether MLX is made for this machine. If not, only what needs no MLX is built.

mlx_version=0.32.4  # cmake/mlx.cmake asks for no older one
no_pictures="MLX is made for Macs with Apple's processors and macOS 14 or newer, so this one builds what bakes, verifies \
and inspects, and makes no pictures."

makes_pictures() {
  [ "$(uname)" != Darwin ] && return
  [ "$(uname -m)" = arm64 ] && [ "$(sw_vers -productVersion | cut -d. -f1)" -ge 14 ]
}
