#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace wavefield {

// The most that a List call of the API answers with.
inline constexpr int kMaxPageSize = 1000;

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
