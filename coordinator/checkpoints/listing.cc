#include "coordinator/checkpoints/listing.h"

#include <fmt/format.h>

#include <optional>

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/page_order.h"
#include "coordinator/rpc/requests.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {

using wavefield::v1::Checkpoint;

absl::StatusOr<Filter> ParseCheckpointFilter(const std::string& text) {
  using Kind = FilterField::Kind;
  return Filter::Parse(text, {{"job", Kind::kText},
                              {"step", Kind::kNumber},
                              {"attempt", Kind::kNumber},
                              {"bytes", Kind::kNumber},
                              {"loss", Kind::kNumber},
                              {"evaluation_loss", Kind::kNumber},
                              {"total_tokens", Kind::kNumber},
                              {"create_time", Kind::kTime},
                              {"pinned", Kind::kBool},
                              {"damaged", Kind::kBool},
                              {"note", Kind::kText}});
}

FilterLookup LookUpIn(const Checkpoint& checkpoint) {
  return [&checkpoint](const std::string& field) -> FilterValue {
    if (field == "job") return JobOfCheckpoint(checkpoint.name());
    if (field == "step") return static_cast<double>(checkpoint.step());
    if (field == "attempt") return static_cast<double>(checkpoint.attempt());
    if (field == "bytes") return static_cast<double>(checkpoint.bytes());
    if (field == "loss") return checkpoint.loss();
    if (field == "evaluation_loss") {
      return checkpoint.evaluated() ? FilterValue(checkpoint.evaluation_loss()) : FilterValue();
    }
    if (field == "total_tokens") return static_cast<double>(checkpoint.total_tokens());
    if (field == "create_time") return FromTimestamp(checkpoint.create_time());
    if (field == "pinned") return checkpoint.pinned();
    if (field == "damaged") return !checkpoint.damage().empty();
    return checkpoint.note();
  };
}

absl::StatusOr<std::string> JobOfParent(StoreReader& reader, const std::string& parent) {
  if (parent == "jobs/-") return std::string();
  WF_ASSIGN_OR_RETURN(const std::string job, IdOf("jobs", parent));
  WF_RETURN_IF_ERROR(reader.GetJob(job).status());
  return job;
}

absl::Status FillCheckpointPage(StoreReader& reader,
                                const wavefield::v1::ListCheckpointsRequest& request,
                                wavefield::v1::ListCheckpointsResponse& response) {
  WF_ASSIGN_OR_RETURN(const std::string job, JobOfParent(reader, request.parent()));
  WF_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size(), 100, 1000));
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseCheckpointFilter(request.filter()));
  WF_ASSIGN_OR_RETURN(const PageOrder order,
                      PageOrder::Parse(request.order_by(), {"create_time", "step", "bytes", "loss",
                                                            "evaluation_loss", "job"}));
  const std::string scope =
      fmt::format("{}/checkpoints?{}", request.parent(),
                  Sha256Hex(request.filter() + '\n' + request.order_by()).substr(0, 16));
  WF_ASSIGN_OR_RETURN(const std::string token, ParsePageToken(scope, request.page_token()));
  std::optional<PagePosition> after;
  if (!token.empty()) {
    WF_ASSIGN_OR_RETURN(after, ParsePosition(token));
  }
  const size_t wanted = static_cast<size_t>(size) + 1;
  FirstOf<Checkpoint> first(order, wanted);
  size_t found = 0;
  WF_RETURN_IF_ERROR(
      VisitCheckpoints(reader, job, order.is_newest_first() && after ? after->revision : INT64_MAX,
                       [&](int64_t revision, Checkpoint& checkpoint) {
                         if (!filter.Matches(LookUpIn(checkpoint))) return true;
                         PagePosition position = order.PositionOf(LookUpIn(checkpoint), revision);
                         if (after && !order.Before(*after, position)) return true;
                         first.Add(std::move(position), std::move(checkpoint));
                         return ++found < wanted || !order.is_newest_first();
                       }));
  size_t bytes = 0;
  std::string last;
  for (auto& [position, checkpoint] : first.Take()) {
    bytes += checkpoint.ByteSizeLong();
    const bool full = response.checkpoints_size() == size || bytes > kMaxListBytes;
    if (full && response.checkpoints_size() > 0) {
      response.set_next_page_token(MakePageToken(scope, last));
      break;
    }
    last = PrintPosition(position);
    *response.add_checkpoints() = std::move(checkpoint);
  }
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
