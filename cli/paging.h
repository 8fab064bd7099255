#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace wavefield {

// The most that a List call of the API answers with.
inline constexpr int kMaxPageSize = 1000;

// --limit.
inline CLI::Option* AddLimitFlag(CLI::App& command, int& limit) {
  return command.add_option("--limit", limit, "at most so many")->check(CLI::Range(1, 1000000));
}

// Fetches the pages of a List call until `take(page)`, which gets what each holds, has enough and
// returns true.
template <typename Stub, typename Request, typename Response, typename Take>
absl::Status ForEachPageUntil(const Session& session,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              Request request, const Take& take) {
  while (true) {
    absl::StatusOr<Response> page = session.Call(method, request);
    if (!page.ok()) return page.status();
    request.set_page_token(page->next_page_token());
    if (take(*std::move(page)) || request.page_token().empty()) return absl::OkStatus();
  }
}

// Fetches a List call's first `limit` (0: all) items into the repeated field that `items(response)`
// points to.
template <typename Stub, typename Request, typename Response, typename Items>
absl::StatusOr<Response> ListUpTo(const Session& session,
                                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                               Response*),
                                  Request request, int limit, const Items& items) {
  request.set_page_size(limit > 0 ? std::min(limit, kMaxPageSize) : kMaxPageSize);
  Response all;
  auto& taken = *items(all);
  absl::Status status = ForEachPageUntil(session, method, request, [&](Response page) {
    taken.MergeFrom(*items(page));
    return limit > 0 && taken.size() >= limit;
  });
  if (!status.ok()) return status;
  if (limit > 0 && taken.size() > limit) taken.DeleteSubrange(limit, taken.size() - limit);
  return all;
}

// Fetches all pages of a List call; `append(page)` takes what each holds.
template <typename Stub, typename Request, typename Response, typename Append>
absl::Status ForEachPage(const Session& session,
                         grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                      Response*),
                         const Request& request, const Append& append) {
  return ForEachPageUntil(session, method, request, [&](Response page) {
    append(std::move(page));
    return false;
  });
}

}  // namespace wavefield
