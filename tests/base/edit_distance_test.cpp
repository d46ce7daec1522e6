// SPDX-License-Identifier: MIT
#include "mflux/base/edit_distance.h"

#include <string>

#include <doctest/doctest.h>

namespace mflux {
namespace {

TEST_CASE("the distance of two texts is the least number of characters to change") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("to_q", "to_q") == 0);
  CHECK(edit_distance("to_q", "to_k") == 1);
  CHECK(edit_distance("to_q", "toq") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ab", "ba") == 2);
  CHECK(edit_distance(std::string(200, 'a'), std::string(100, 'b')) == 200);
}

}  // namespace
}  // namespace mflux
