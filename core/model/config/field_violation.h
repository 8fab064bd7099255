#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/base/suggest.h"

namespace wavefield {

// One thing that is wrong with a specification.
struct FieldViolation {
  std::string field;        // path in the specification: "training.batch_size"
  std::string description;  // the value, what is allowed, what to do
};

// Collects violations; every field's path is preceded by `prefix`.
class ViolationList {
 public:
  explicit ViolationList(std::string prefix = "") : prefix_(std::move(prefix)) {}

  void Add(const std::string& field, std::string description) {
    list_.push_back({prefix_ + field, std::move(description)});
  }
  // NaN is out of every range.
  template <typename T>
  void Range(const std::string& field, T value, T low, T high) {
    if (!(value >= low && value <= high)) {
      Add(field, fmt::format("is {}; allowed: {} to {}", value, low, high));
    }
  }
  void OneOf(const std::string& field, const std::string& value,
             const std::vector<std::string>& allowed) {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
    const std::string near = SuggestNearest(value, allowed);
    Add(field, fmt::format("is '{}'; allowed: '{}'{}{}", value.substr(0, 64),
                           fmt::join(allowed, "', '"), near.empty() ? "" : "; ", near));
  }
  std::vector<FieldViolation> Take() { return std::move(list_); }

 private:
  std::string prefix_;
  std::vector<FieldViolation> list_;
};

}  // namespace wavefield
