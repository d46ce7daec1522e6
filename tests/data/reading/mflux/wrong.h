// SPDX-License-Identifier: MIT
// What cmake/reading.cmake must see; it is not compiled.
const auto json = nlohmann::json::parse(text);
const auto table = toml::parse(text);
const std::regex pattern("a*");
const int number = std::stoi(text);
