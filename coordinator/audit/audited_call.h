#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"
#include "coordinator/server/permissions.h"
#include "wavefield/v1/audit_service.pb.h"

namespace wavefield::coordinator {

// The entry of a call of `method` ("JobService.CreateJob") by `caller`, as far as that is known
// before it is answered.
v1::AuditEntry EntryOf(std::string_view method, const Caller& caller);

// Resource and request id of a request; a field of it that holds the resource counts as well.
void DescribeRequest(const google::protobuf::Message& request, v1::AuditEntry& entry);
// The name that the answer has, for a request that names nothing.
void DescribeAnswer(const google::protobuf::Message& answer, v1::AuditEntry& entry);
void DescribeResult(const absl::Status& status, v1::AuditEntry& entry);

// True for a request that asks for a check alone: it changes nothing.
bool OnlyValidates(const google::protobuf::Message& request);

// "127.0.0.1" of "ipv4:127.0.0.1:7070", "::1" of "ipv6:[::1]:7070".
std::string AddressOf(std::string peer);

}  // namespace wavefield::coordinator
