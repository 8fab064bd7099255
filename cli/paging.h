#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace wavefield {

// Fetches all pages of a List call; `append(page)` takes what each holds.
template <typename Stub, typename Request, typename Response, typename Append>
absl::Status ForEachPage(const Session& session,
                         grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                      Response*),
                         Request request, const Append& append) {
  while (true) {
    absl::StatusOr<Response> page = session.Call(method, request);
    if (!page.ok()) return page.status();
    request.set_page_token(page->next_page_token());
    append(*std::move(page));
    if (request.page_token().empty()) return absl::OkStatus();
  }
}

}  // namespace wavefield
