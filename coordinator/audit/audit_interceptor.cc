#include "coordinator/audit/audit_interceptor.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <string>

#include "coordinator/audit/audited_call.h"
#include "coordinator/server/authorization.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

using google::protobuf::Message;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

class AuditInterceptor final : public grpc::experimental::Interceptor {
 public:
  AuditInterceptor(AuditLog& log, const Access& access, std::string_view method,
                   const grpc::ServerContextBase& call)
      : log_(log), access_(access), method_(method), call_(call) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      entry_ = EntryOf(method_, access_.CallerOf(AuthorizationOf(call_)));
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      OnRequest(static_cast<const Message*>(methods->GetRecvMessage()));
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      const auto* answer = static_cast<const Message*>(methods->GetSendMessage());
      if (answer != nullptr) DescribeAnswer(*answer, entry_);
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS) &&
        !only_validates_) {
      AppendAndProceed(*methods);
    } else {
      methods->Proceed();
    }
  }

 private:
  // The first message of a stream says what it is about.
  void OnRequest(const Message* request) {
    if (request == nullptr || described_) return;
    described_ = true;
    only_validates_ = OnlyValidates(*request);
    DescribeRequest(*request, entry_);
  }

  void AppendAndProceed(InterceptorBatchMethods& methods) {
    entry_.set_peer(AddressOf(call_.peer()));
    DescribeResult(FromGrpcStatus(methods.GetSendStatus()), entry_);
    log_.Append(entry_, [&methods](const absl::Status& written) {
      if (!written.ok()) {
        methods.ModifySendStatus(ToGrpcStatus(absl::UnavailableError(
            fmt::format("the answer is held back: the audit log could not be written: {}",
                        std::string(written.message())))));
      }
      methods.Proceed();
    });
  }

  AuditLog& log_;
  const Access& access_;
  const std::string_view method_;
  const grpc::ServerContextBase& call_;
  v1::AuditEntry entry_;
  bool described_ = false;
  bool only_validates_ = false;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Factory(AuditLog& log, const Access& access) : log_(log), access_(access) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    const MethodRule* rule = info->method() == nullptr ? nullptr : RuleFor(info->method());
    if (rule == nullptr || !rule->audited) return nullptr;
    return new AuditInterceptor(log_, access_, rule->method, *info->server_context());
  }

 private:
  AuditLog& log_;
  const Access& access_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeAuditInterceptor(
    AuditLog& log, const Access& access) {
  return std::make_unique<Factory>(log, access);
}

}  // namespace wavefield::coordinator
