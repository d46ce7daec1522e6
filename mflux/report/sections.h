// SPDX-License-Identifier: MIT
// The page's parts in its order. Each appends its HTML to `out`.
#pragma once

#include <string>

#include "mflux/report/facts.h"

namespace mflux::report {

void put_head(std::string& out, const ReportFacts& facts);  // up to <main>
void put_verdict(std::string& out, const ReportFacts& facts);
void put_sources(std::string& out, const ReportFacts& facts);
void put_sizes(std::string& out, const ReportFacts& facts);
void put_layers(std::string& out, const ReportFacts& facts);
void put_storage(std::string& out, const ReportFacts& facts);
void put_pictures(std::string& out, const PictureGrid& grid);
void put_left_out(std::string& out, const ReportFacts& facts);
void put_foot(std::string& out);

}  // namespace mflux::report
