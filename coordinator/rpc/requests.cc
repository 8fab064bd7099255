#include "coordinator/rpc/requests.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <memory>

#include "absl/strings/escaping.h"
#include "coordinator/jobs/text.h"
#include "core/base/checksum.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxRequestId = 128;

}  // namespace

bool IsResourceId(const std::string& id) {
  if (id.empty() || id.size() > 63 || id[0] < 'a' || id[0] > 'z') return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

absl::StatusOr<std::string> IdOf(const std::string& collection, const std::string& name) {
  const std::string prefix = collection + "/";
  if (name.rfind(prefix, 0) == 0) {
    std::string id = name.substr(prefix.size());
    if (IsResourceId(id)) return id;
  }
  return InvalidField(
      "name", fmt::format("'{}' is not a name of the form {}ID, ID = [a-z][a-z0-9-]{{0,62}}",
                          Shortened(name, 100), prefix));
}

absl::Status InvalidField(const std::string& field, const std::string& description) {
  absl::Status status = absl::InvalidArgumentError(fmt::format("{}: {}", field, description));
  google::rpc::BadRequest details;
  auto* violation = details.add_field_violations();
  violation->set_field(field);
  violation->set_description(description);
  AttachDetail(status, details);
  return status;
}

absl::StatusOr<int> PageSize(int requested, int default_size, int limit) {
  if (requested < 0) {
    return InvalidField("page_size",
                        fmt::format("{} is negative; allowed: 0 (the default, {}) to {}", requested,
                                    default_size, limit));
  }
  return requested == 0 ? default_size : std::min(requested, limit);
}

std::string MakePageToken(const std::string& scope, const std::string& position) {
  std::string token;
  absl::WebSafeBase64Escape(scope + '\n' + position, &token);
  return token;
}

absl::StatusOr<std::string> ParsePageToken(const std::string& scope, const std::string& token) {
  if (token.empty()) return std::string();
  std::string text;
  if (token.size() < 1000 && absl::WebSafeBase64Unescape(token, &text) &&
      text.rfind(scope + '\n', 0) == 0) {
    return text.substr(scope.size() + 1);
  }
  return NotGivenOut();
}

std::string ListScope(const std::string& list, const std::string& filter,
                      const std::string& order_by) {
  return fmt::format("{}?{}", list, Sha256Hex(filter + '\n' + order_by).substr(0, 16));
}

absl::Status NotGivenOut() {
  return InvalidField("page_token",
                      "was not given out for this list; take one that an answer to the same "
                      "request had, or none for the first page");
}

std::string PayloadHash(const google::protobuf::Message& request) {
  const std::unique_ptr<google::protobuf::Message> copy(request.New());
  copy->CopyFrom(request);
  if (const auto* field = copy->GetDescriptor()->FindFieldByName("request_id")) {
    copy->GetReflection()->ClearField(copy.get(), field);
  }
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    copy->SerializePartialToCodedStream(&coded);
  }
  return Sha256Hex(bytes);
}

absl::StatusOr<bool> FindAnswer(StoreReader& reader, const std::string& method,
                                const std::string& request_id, const std::string& payload_hash,
                                google::protobuf::Message& answer) {
  if (request_id.empty()) return false;
  if (request_id.size() > kMaxRequestId) {
    return InvalidField("request_id", fmt::format("has {} characters; at most {} are allowed",
                                                  request_id.size(), kMaxRequestId));
  }
  WF_ASSIGN_OR_RETURN(const auto record, reader.FindRequest(method + ":" + request_id));
  if (!record) return false;
  if (record->payload_hash != payload_hash) {
    return StatusWithReason(
        absl::StatusCode::kInvalidArgument, "REQUEST_ID_REUSED",
        fmt::format("request_id '{}' was used for another request already; take a new one",
                    request_id));
  }
  if (!answer.ParseFromString(record->answer)) {
    return absl::DataLossError(
        fmt::format("the answer kept for request_id '{}' is corrupt", request_id));
  }
  return true;
}

absl::Status KeepAnswer(Transaction& transaction, const std::string& method,
                        const std::string& request_id, const std::string& payload_hash,
                        const google::protobuf::Message& answer, absl::Time now) {
  if (request_id.empty()) return absl::OkStatus();
  return transaction.PutRequest(method + ":" + request_id,
                                {payload_hash, answer.SerializeAsString()}, now);
}

absl::Status WriteOnce(Store& store, const Clock& clock, const std::string& method,
                       const google::protobuf::Message& request, const std::string& request_id,
                       google::protobuf::Message& answer,
                       const std::function<absl::Status(Transaction&)>& work) {
  const std::string hash = PayloadHash(request);
  return store.Write([&](Transaction& transaction) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const bool answered,
                        FindAnswer(transaction, method, request_id, hash, answer));
    if (answered) return absl::OkStatus();
    WF_RETURN_IF_ERROR(work(transaction));
    return KeepAnswer(transaction, method, request_id, hash, answer, clock.Now());
  });
}

}  // namespace wavefield::coordinator
