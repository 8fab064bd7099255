#include "proto/rpc/status.h"

#include "google/rpc/status.pb.h"

namespace wavefield {
namespace {

template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  Detail detail;
  const std::string url = "type.googleapis.com/" + detail.GetDescriptor()->full_name();
  if (const auto payload = status.GetPayload(url)) detail.ParseFromString(std::string(*payload));
  return detail;
}

// Errors repeat what came from outside: no control character but line feed and tab passes on.
std::string Printable(std::string text) {
  const auto byte_at = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = byte_at(i);
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) text[i] = '?';
    // U+0080 to U+009F, of two bytes.
    if (byte == 0xc2 && byte_at(i + 1) >= 0x80 && byte_at(i + 1) < 0xa0) text.replace(i, 2, "?");
  }
  return text;
}

absl::Cord PrintableDetail(absl::string_view url, const absl::Cord& payload) {
  google::rpc::BadRequest request;
  if (url != "type.googleapis.com/" + request.GetDescriptor()->full_name() ||
      !request.ParseFromString(std::string(payload))) {
    return payload;
  }
  for (auto& violation : *request.mutable_field_violations()) {
    violation.set_field(Printable(violation.field()));
    violation.set_description(Printable(violation.description()));
  }
  return absl::Cord(request.SerializeAsString());
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The numbers of absl::StatusCode are those of gRPC.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = Printable(std::string(status.message()));
  google::rpc::Status details;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    auto* any = details.add_details();
    any->set_type_url(std::string(url));
    any->set_value(std::string(PrintableDetail(url, payload)));
  });
  if (details.details_size() == 0) return {code, message};
  details.set_code(status.raw_code());
  details.set_message(message);
  return {code, message, details.SerializeAsString()};
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& any : details.details())
      result.SetPayload(any.type_url(), absl::Cord(any.value()));
  }
  return result;
}

void AttachDetail(absl::Status& status, const google::protobuf::Message& detail) {
  status.SetPayload("type.googleapis.com/" + detail.GetDescriptor()->full_name(),
                    absl::Cord(detail.SerializeAsString()));
}

absl::Status StatusWithReason(absl::StatusCode code, const std::string& reason,
                              const std::string& message) {
  absl::Status status(code, message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("wavefield");
  AttachDetail(status, info);
  return status;
}

google::rpc::BadRequest BadRequestOf(const absl::Status& status) {
  return DetailOf<google::rpc::BadRequest>(status);
}

std::string ReasonOf(const absl::Status& status) {
  return DetailOf<google::rpc::ErrorInfo>(status).reason();
}

}  // namespace wavefield
