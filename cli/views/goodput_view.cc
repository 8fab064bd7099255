#include "cli/views/goodput_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_replace.h"
#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/job_view.h"
#include "cli/views/table.h"
#include "core/base/json_numbers.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

constexpr double kMsPerSecond = 1000;
constexpr double kMsPerHour = 3'600'000;
// From here on in hours.
constexpr int64_t kLarge = 36'000'000;

struct Bucket {
  std::string name;
  int64_t milliseconds = 0;
};

// Useful steps first, the rest as in the proto; without the total.
std::vector<Bucket> BucketsOf(const v1::Goodput& goodput) {
  std::vector<Bucket> buckets;
  const auto* descriptor = v1::Goodput::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (field->number() == v1::Goodput::kTotalFieldNumber) continue;
    const int64_t milliseconds = goodput.GetReflection()->GetInt64(goodput, field);
    const bool useful = field->number() == v1::Goodput::kUsefulStepsFieldNumber;
    buckets.insert(useful ? buckets.begin() : buckets.end(),
                   Bucket{absl::StrReplaceAll(field->name(), {{"_", " "}}), milliseconds});
  }
  return buckets;
}

std::string Amount(int64_t milliseconds, bool large) {
  const auto amount = static_cast<double>(milliseconds);
  return large ? FormatFixed(amount / kMsPerHour, 2) : FormatFixed(amount / kMsPerSecond, 3);
}

std::string Percent(double ratio) {
  return std::isnan(ratio) ? "-" : FormatFixed(100 * ratio, 2) + " %";
}

int64_t Lost(const v1::Job& job) { return job.goodput().total() - job.goodput().useful_steps(); }

std::string MostlyLostTo(const v1::Goodput& goodput) {
  const std::vector<Bucket> buckets = BucketsOf(goodput);
  const auto most = std::max_element(
      std::next(buckets.begin()), buckets.end(),
      [](const Bucket& x, const Bucket& y) { return x.milliseconds < y.milliseconds; });
  if (most->milliseconds == 0) return "-";
  const double share =
      static_cast<double>(most->milliseconds) / static_cast<double>(goodput.total());
  return fmt::format("{} {}", most->name, Percent(share));
}

}  // namespace

double GoodputRatio(const v1::Goodput& goodput) {
  if (goodput.total() == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(goodput.useful_steps()) / static_cast<double>(goodput.total());
}

v1::Goodput SumOfGoodput(const std::vector<v1::Job>& jobs) {
  v1::Goodput sum;
  const auto* reflection = sum.GetReflection();
  for (int i = 0; i < v1::Goodput::descriptor()->field_count(); ++i) {
    const auto* field = v1::Goodput::descriptor()->field(i);
    int64_t total = 0;
    for (const v1::Job& job : jobs) total += reflection->GetInt64(job.goodput(), field);
    reflection->SetInt64(&sum, field, total);
  }
  return sum;
}

std::string FormatGoodput(const std::string& of, const v1::Goodput& goodput) {
  if (goodput.total() == 0) return of + ": no slot was held yet\n";
  const bool large = goodput.total() >= kLarge;
  Table table({{"BUCKET"},
               {large ? "SLOT-HOURS" : "SLOT-SECONDS", Align::kRight},
               {"SHARE", Align::kRight}});
  for (const Bucket& bucket : BucketsOf(goodput)) {
    const auto amount = static_cast<double>(bucket.milliseconds);
    table.AddRow({bucket.name, Amount(bucket.milliseconds, large),
                  Percent(amount / static_cast<double>(goodput.total()))});
  }
  table.AddRow({"total", Amount(goodput.total(), large), Percent(1)});
  return fmt::format("{}: goodput {}\n{}", of, Percent(GoodputRatio(goodput)), table.ToString());
}

std::string FormatLosses(std::vector<v1::Job> jobs) {
  std::erase_if(jobs, [](const v1::Job& job) { return job.goodput().total() == 0; });
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const v1::Job& x, const v1::Job& y) { return Lost(x) > Lost(y); });
  const bool large = SumOfGoodput(jobs).total() >= kLarge;
  const std::string unit = large ? "SLOT-HOURS" : "SLOT-SECONDS";
  Table table({{"JOB"},
               {"STATE"},
               {"LOST " + unit, Align::kRight},
               {"HELD", Align::kRight},
               {"GOODPUT", Align::kRight},
               {"MOSTLY TO"}});
  for (const v1::Job& job : jobs) {
    table.AddRow({ResourceId(job.name()), StateName(job.state()), Amount(Lost(job), large),
                  Amount(job.goodput().total(), large), Percent(GoodputRatio(job.goodput())),
                  MostlyLostTo(job.goodput())});
  }
  return table.ToString();
}

nlohmann::json GoodputJson(const std::vector<v1::Job>& jobs) {
  const auto account = [](const v1::Goodput& goodput) {
    return nlohmann::json{{"goodput_ratio", NumberToJson(GoodputRatio(goodput))},
                          {"goodput", nlohmann::json::parse(ToJson(goodput))}};
  };
  nlohmann::json result = {{"jobs", nlohmann::json::array()}, {"sum", account(SumOfGoodput(jobs))}};
  for (const v1::Job& job : jobs) {
    nlohmann::json& one = result["jobs"].emplace_back(account(job.goodput()));
    one["name"] = job.name();
    one["state"] = v1::JobState_Name(job.state());
  }
  return result;
}

}  // namespace wavefield
