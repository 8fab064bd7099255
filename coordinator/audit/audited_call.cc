#include "coordinator/audit/audited_call.h"

#include "absl/strings/str_replace.h"
#include "coordinator/jobs/text.h"

namespace wavefield::coordinator {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMaxMessageBytes = 300;
constexpr size_t kMaxTextBytes = 200;

// Fields that name a resource, and what stands before it.
constexpr struct {
  const char* field;
  const char* prefix;
} kNames[] = {{"name", ""},
              {"parent", ""},
              {"job_id", "jobs/"},
              {"dataset_id", "datasets/"},
              {"worker_id", "workers/"}};

const FieldDescriptor* FieldOf(const Message& message, const char* name,
                               FieldDescriptor::CppType type) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  return field != nullptr && !field->is_repeated() && field->cpp_type() == type ? field : nullptr;
}

std::string TextOf(const Message& message, const char* name) {
  const auto* field = FieldOf(message, name, FieldDescriptor::CPPTYPE_STRING);
  return field == nullptr ? "" : message.GetReflection()->GetString(message, field);
}

std::string NamedBy(const Message& message) {
  for (const auto& [field, prefix] : kNames) {
    if (const std::string text = TextOf(message, field); !text.empty()) {
      return Shortened(prefix + text, kMaxTextBytes);
    }
  }
  return "";
}

std::string ResourceOf(const Message& request) {
  if (std::string named = NamedBy(request); !named.empty()) return named;
  for (const char* name : {"job", "checkpoint", "config", "begin"}) {
    const auto* field = FieldOf(request, name, FieldDescriptor::CPPTYPE_MESSAGE);
    if (field == nullptr) continue;
    std::string named = NamedBy(request.GetReflection()->GetMessage(request, field));
    if (!named.empty()) return named;
  }
  return "";
}

}  // namespace

v1::AuditEntry EntryOf(std::string_view method, const Caller& caller) {
  v1::AuditEntry entry;
  entry.set_principal(caller.name);
  entry.set_role(NameOf(caller.role));
  entry.set_method(std::string(method));
  return entry;
}

void DescribeRequest(const Message& request, v1::AuditEntry& entry) {
  entry.set_resource(ResourceOf(request));
  entry.set_request_id(Shortened(TextOf(request, "request_id"), kMaxTextBytes));
}

void DescribeAnswer(const Message& answer, v1::AuditEntry& entry) {
  if (entry.resource().empty()) entry.set_resource(NamedBy(answer));
}

void DescribeResult(const absl::Status& status, v1::AuditEntry& entry) {
  entry.set_result(absl::StatusCodeToString(status.code()));
  entry.set_message(Shortened(std::string(status.message()), kMaxMessageBytes));
}

bool OnlyValidates(const Message& request) {
  const auto* field = FieldOf(request, "validate_only", FieldDescriptor::CPPTYPE_BOOL);
  return field != nullptr && request.GetReflection()->GetBool(request, field);
}

std::string AddressOf(std::string peer) {
  if (peer.starts_with("ipv4:") || peer.starts_with("ipv6:")) {
    peer = absl::StrReplaceAll(peer.substr(5), {{"%5B", "["}, {"%5D", "]"}});
    peer = peer.substr(0, peer.rfind(':'));
    if (peer.starts_with('[') && peer.ends_with(']')) peer = peer.substr(1, peer.size() - 2);
  }
  return peer;
}

}  // namespace wavefield::coordinator
