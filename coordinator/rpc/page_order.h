#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/rpc/filter.h"

namespace wavefield::coordinator {

// A place in an ordered list. Where the order does not decide, the newer revision comes first.
struct PagePosition {
  FilterValue value;
  int64_t revision = 0;
};

// The order of a list whose own is create_time, newest first; that of creation goes by revisions,
// however clocks went. Immutable.
class PageOrder {
 public:
  // INVALID_ARGUMENT about the field "order_by". `fields` hold create_time.
  static absl::StatusOr<PageOrder> Parse(const std::string& text,
                                         const std::vector<std::string>& fields);

  bool is_newest_first() const { return order_.field == "create_time" && order_.descending; }
  // Of a resource that was created at `revision`.
  PagePosition PositionOf(const FilterLookup& lookup, int64_t revision) const;
  bool Before(const PagePosition& a, const PagePosition& b) const;

 private:
  ListOrder order_;
};

// What a page token holds.
std::string PrintPosition(const PagePosition& position);
absl::StatusOr<PagePosition> ParsePosition(const std::string& text);

// Keeps the first so many of all that are added.
template <typename Resource>
class FirstOf {
 public:
  using Placed = std::pair<PagePosition, Resource>;

  FirstOf(const PageOrder& order, size_t count) : order_(order), count_(count) {}

  void Add(PagePosition position, Resource resource) {
    all_.emplace_back(std::move(position), std::move(resource));
    if (all_.size() < 2 * count_ + 100) return;
    std::nth_element(all_.begin(), all_.begin() + static_cast<ptrdiff_t>(count_), all_.end(),
                     [this](const Placed& a, const Placed& b) { return Before(a, b); });
    all_.resize(count_);
  }

  // In order.
  std::vector<Placed> Take() {
    std::sort(all_.begin(), all_.end(),
              [this](const Placed& a, const Placed& b) { return Before(a, b); });
    if (all_.size() > count_) all_.resize(count_);
    return std::move(all_);
  }

 private:
  bool Before(const Placed& a, const Placed& b) const { return order_.Before(a.first, b.first); }

  const PageOrder& order_;
  const size_t count_;
  std::vector<Placed> all_;
};

}  // namespace wavefield::coordinator
