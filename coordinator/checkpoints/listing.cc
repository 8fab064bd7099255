#include "coordinator/checkpoints/listing.h"

#include "coordinator/checkpoints/catalogue.h"
#include "coordinator/jobs/timestamps.h"
#include "coordinator/rpc/page_order.h"
#include "coordinator/rpc/requests.h"
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
  WF_ASSIGN_OR_RETURN(const Filter filter, ParseCheckpointFilter(request.filter()));
  WF_ASSIGN_OR_RETURN(const PageOrder order,
                      PageOrder::Parse(request.order_by(), {"create_time", "step", "bytes", "loss",
                                                            "evaluation_loss", "job"}));
  const auto visit = [&](int64_t before, const auto& take) {
    return VisitCheckpoints(reader, job, before, take);
  };
  WF_ASSIGN_OR_RETURN(
      Page<Checkpoint> page,
      ReadPage<Checkpoint>(request, request.parent() + "/checkpoints", filter, order, visit,
                           [](const Checkpoint& checkpoint) { return LookUpIn(checkpoint); }));
  for (Checkpoint& checkpoint : page.resources) {
    *response.add_checkpoints() = std::move(checkpoint);
  }
  response.set_next_page_token(page.next_page_token);
  return absl::OkStatus();
}

}  // namespace wavefield::coordinator
