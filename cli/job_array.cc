#include "cli/job_array.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/resource_names.h"
#include "cli/spec_editing.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr size_t kMaxJobs = 1000;
constexpr char kArrayLabel[] = "array";

// Splits at commas outside of brackets.
std::vector<std::string> SplitValues(const std::string& text) {
  std::vector<std::string> values(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == ',' && depth == 0) {
      values.emplace_back();
    } else {
      values.back() += c;
    }
  }
  return values;
}

}  // namespace

absl::StatusOr<GridAxis> ParseGridAxis(const std::string& text) {
  const size_t equals = text.find('=');
  const auto fail = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("--grid {}: {}", text.substr(0, 200), what));
  };
  if (equals == std::string::npos || equals == 0) {
    return fail("expected path.to.field=value,value,…");
  }
  GridAxis axis{.path = text.substr(0, equals), .values = SplitValues(text.substr(equals + 1))};
  for (auto value = axis.values.begin(); value != axis.values.end(); ++value) {
    if (value->empty()) return fail("a value is empty; write path.to.field=value,value,…");
    if (std::find(axis.values.begin(), value, *value) != value) {
      return fail(fmt::format("the value {} comes twice", *value));
    }
  }
  return axis;
}

absl::StatusOr<std::vector<ArrayElement>> ExpandGrid(const v1::JobSpec& base,
                                                     const std::vector<GridAxis>& axes,
                                                     const std::string& stem) {
  size_t count = 1;
  for (auto axis = axes.begin(); axis != axes.end(); ++axis) {
    const auto same = [&](const GridAxis& other) { return other.path == axis->path; };
    if (std::any_of(axes.begin(), axis, same)) {
      return absl::InvalidArgumentError(
          fmt::format("--grid {} is given twice; list all its values once", axis->path));
    }
    count *= axis->values.size();
    if (count > kMaxJobs) {
      return absl::InvalidArgumentError(
          fmt::format("the grid has more than {} jobs, the most that an array may have; leave out "
                      "values of an axis",
                      kMaxJobs));
    }
  }
  if (base.labels().contains(kArrayLabel)) {
    return absl::InvalidArgumentError(fmt::format(
        "the specification sets labels.{0}, which --grid sets to the array's name; leave it out",
        kArrayLabel));
  }
  const std::string last = fmt::format("{}-{}", stem, count - 1);
  if (!ParseJobName(last).ok()) {
    return absl::InvalidArgumentError(fmt::format(
        "the array's jobs would be called up to '{}', which is no name of a job: at most 63 of "
        "a-z, 0-9 and '-'; give a shorter --name",
        last));
  }
  std::vector<ArrayElement> elements;
  for (size_t i = 0; i < count; ++i) {
    ArrayElement element;
    element.request.set_job_id(fmt::format("{}-{}", stem, i));
    v1::JobSpec& spec = *element.request.mutable_spec();
    spec = base;
    (*spec.mutable_labels())[kArrayLabel] = stem;
    size_t stride = count;
    for (const GridAxis& axis : axes) {
      stride /= axis.values.size();
      const std::string& value = axis.values[i / stride % axis.values.size()];
      WF_RETURN_IF_ERROR(SetField(axis.path + "=" + value, spec, "--grid"));
      element.values.push_back(value);
    }
    elements.push_back(std::move(element));
  }
  return elements;
}

}  // namespace wavefield
