#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// Useful steps of what was held, 0 to 1; NaN where nothing was.
double GoodputRatio(const v1::Goodput& goodput);
v1::Goodput SumOfGoodput(const std::vector<v1::Job>& jobs);

// A line with the share of `of`'s useful steps, and where the time of its slots went.
std::string FormatGoodput(const std::string& of, const v1::Goodput& goodput);
// The jobs that held slots, those that lost most of their time first.
std::string FormatLosses(std::vector<v1::Job> jobs);

// What `wavefield goodput --json` prints.
nlohmann::json GoodputJson(const std::vector<v1::Job>& jobs);

}  // namespace wavefield
