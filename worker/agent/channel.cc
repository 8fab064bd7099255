#include "worker/agent/channel.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

using Json = nlohmann::json;

constexpr double kMaxWaitSeconds = 86400;

std::string ToLine(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status Malformed(const std::string& what) { return absl::InvalidArgumentError(what); }

// The message's only member: its name and body.
absl::StatusOr<std::pair<std::string, Json>> ParseEnvelope(const std::string& line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Malformed("a line that is not JSON");
  if (!json.is_object() || json.size() != 1 || !json.begin()->is_object()) {
    return Malformed("a line that is not a JSON object with one object in it");
  }
  std::string name = json.begin().key();
  return std::make_pair(std::move(name), std::move(*json.begin()));
}

absl::StatusOr<std::string> StringField(const Json& body, const std::string& name) {
  const auto field = body.find(name);
  if (field == body.end() || !field->is_string()) {
    return Malformed(absl::StrCat("field '", name, "' is not a string"));
  }
  return field->get<std::string>();
}

absl::StatusOr<int64_t> IdField(const Json& body) {
  const auto field = body.find("id");
  if (field == body.end() || !field->is_number_integer()) {
    return Malformed("field 'id' is not an integer");
  }
  return field->get<int64_t>();
}

absl::StatusOr<std::string> BytesField(const Json& body, const std::string& name) {
  WF_ASSIGN_OR_RETURN(const std::string text, StringField(body, name));
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) {
    return Malformed(absl::StrCat("field '", name, "' is not base64"));
  }
  return bytes;
}

absl::StatusOr<absl::Duration> TimeoutField(const Json& body) {
  const auto field = body.find("timeout_seconds");
  if (field == body.end() || !field->is_number()) {
    return Malformed("field 'timeout_seconds' is not a number");
  }
  const double seconds = field->get<double>();
  if (!(seconds > 0 && seconds <= kMaxWaitSeconds)) {
    return Malformed(
        absl::StrCat("timeout_seconds = ", seconds, " is outside of (0, ", kMaxWaitSeconds, "]"));
  }
  return absl::Seconds(seconds);
}

std::string Encode(const RendezvousReply& reply) {
  return ToLine(
      {{"rendezvous_reply",
        {{"id", reply.id},
         {"value", absl::Base64Escape(reply.value)},
         {"error", reply.status.ok()
                       ? ""
                       : reply.status.ToString(absl::StatusToStringMode::kWithNoExtraData)}}}});
}
std::string Encode(const StopRequest&) { return ToLine({{"stop", Json::object()}}); }
std::string Encode(const AbortRequest& abort) {
  return ToLine({{"abort", {{"reason", abort.reason}}}});
}

}  // namespace

std::string EncodeMessage(const WorkerMessage& message) {
  return std::visit([](const auto& m) { return Encode(m); }, message);
}

absl::StatusOr<TrainerMessage> ParseMessage(const std::string& line) {
  WF_ASSIGN_OR_RETURN(const auto envelope, ParseEnvelope(line));
  const auto& [name, body] = envelope;
  if (name == "event") {
    v1::TrainerEvent event;
    WF_RETURN_IF_ERROR(FromJson(body.dump(), event));
    if (event.event_case() == v1::TrainerEvent::EVENT_NOT_SET) return Malformed("an empty event");
    return event;
  }
  if (name == "rendezvous_set") {
    RendezvousSet set;
    WF_ASSIGN_OR_RETURN(set.id, IdField(body));
    WF_ASSIGN_OR_RETURN(set.key, StringField(body, "key"));
    WF_ASSIGN_OR_RETURN(set.value, BytesField(body, "value"));
    return set;
  }
  if (name == "rendezvous_wait") {
    RendezvousWait wait;
    WF_ASSIGN_OR_RETURN(wait.id, IdField(body));
    WF_ASSIGN_OR_RETURN(wait.key, StringField(body, "key"));
    WF_ASSIGN_OR_RETURN(wait.timeout, TimeoutField(body));
    return wait;
  }
  return Malformed(absl::StrCat("an unknown message '", name, "'"));
}

absl::StatusOr<bool> LineBuffer::Next(std::string& line) {
  const size_t newline = buffer_.find('\n', scanned_);
  const size_t end = newline == std::string::npos ? buffer_.size() : newline;
  if (end - start_ >= limit_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a line of more than the limit of ", limit_, " bytes"));
  }
  if (newline == std::string::npos) {
    buffer_.erase(0, start_);
    start_ = 0;
    scanned_ = buffer_.size();
    return false;
  }
  line.assign(buffer_, start_, newline - start_);
  start_ = scanned_ = newline + 1;
  return true;
}

}  // namespace wavefield
