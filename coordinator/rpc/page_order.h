#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/rpc/filter.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"

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

template <typename Resource>
struct Page {
  std::vector<Resource> resources;
  std::string next_page_token;  // "": nothing follows
};

// The page that a request asks for of `list` ("jobs"). `visit(before, take)` shows all resources of
// revisions before `before`, newest first, until take(revision, resource), which may move the
// resource away, returns false. `look_up(resource)` is a FilterLookup.
template <typename Resource, typename Request, typename Visit, typename LookUp>
absl::StatusOr<Page<Resource>> ReadPage(const Request& request, const std::string& list,
                                        const Filter& filter, const PageOrder& order,
                                        const Visit& visit, const LookUp& look_up) {
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  const std::string scope = ListScope(list, request.filter(), request.order_by());
  WF_ASSIGN_OR_RETURN(const std::string token, ParsePageToken(scope, request.page_token()));
  std::optional<PagePosition> after;
  if (!token.empty()) {
    WF_ASSIGN_OR_RETURN(after, ParsePosition(token));
  }
  const bool as_stored = order.is_newest_first();
  const size_t wanted = static_cast<size_t>(size) + 1;
  FirstOf<Resource> first(order, wanted);
  size_t found = 0;
  WF_RETURN_IF_ERROR(visit(as_stored && after ? after->revision : INT64_MAX,
                           [&](int64_t revision, Resource& resource) {
                             const FilterLookup lookup = look_up(resource);
                             if (!filter.Matches(lookup)) return true;
                             PagePosition position = order.PositionOf(lookup, revision);
                             if (after && !order.Before(*after, position)) return true;
                             first.Add(std::move(position), std::move(resource));
                             return ++found < wanted || !as_stored;
                           }));
  Page<Resource> page;
  size_t bytes = 0;
  std::string last;
  for (auto& [position, resource] : first.Take()) {
    bytes += resource.ByteSizeLong();
    const bool full = std::ssize(page.resources) == size || bytes > kMaxListBytes;
    if (full && !page.resources.empty()) {
      page.next_page_token = MakePageToken(scope, last);
      break;
    }
    last = PrintPosition(position);
    page.resources.push_back(std::move(resource));
  }
  return page;
}

}  // namespace wavefield::coordinator
