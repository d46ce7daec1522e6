// SPDX-License-Identifier: MIT
// For the test that a family's name outside its own folder is seen.
bool is_flux(const char* family) {
  return std::string_view(family) == "flux";
}
