#include "coordinator/server/path_interceptor.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

using grpc::experimental::InterceptionHookPoints;

bool IsPartOfName(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
}

// Whether what is at [begin, end) stands for itself: a part of no longer path or name.
bool IsWhole(const std::string& text, size_t begin, size_t end) {
  const char before = begin == 0 ? ' ' : text[begin - 1];
  const char after = end == text.size() ? ' ' : text[end];
  const bool goes_on = after == '.' && end + 1 < text.size() && IsPartOfName(text[end + 1]);
  return !IsPartOfName(before) && before != '.' && before != '/' && !IsPartOfName(after) &&
         !goes_on;
}

class PathInterceptor final : public grpc::experimental::Interceptor {
 public:
  explicit PathInterceptor(const std::vector<PrivateDirectory>& directories)
      : directories_(directories) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const absl::Status status = FromGrpcStatus(methods->GetSendStatus());
      const std::string message = WithoutPaths(std::string(status.message()), directories_);
      if (message != status.message()) {
        absl::Status changed(status.code(), message);
        status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
          changed.SetPayload(url, payload);
        });
        methods->ModifySendStatus(ToGrpcStatus(changed));
      }
    }
    methods->Proceed();
  }

 private:
  const std::vector<PrivateDirectory>& directories_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(std::vector<PrivateDirectory> directories)
      : directories_(std::move(directories)) {
    // What is inside another one is told apart from it.
    std::sort(directories_.begin(), directories_.end(),
              [](const PrivateDirectory& a, const PrivateDirectory& b) {
                return a.path.native().size() > b.path.native().size();
              });
  }

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo*) override {
    return new PathInterceptor(directories_);
  }

 private:
  std::vector<PrivateDirectory> directories_;
};

}  // namespace

std::string WithoutPaths(std::string text, const std::vector<PrivateDirectory>& directories) {
  for (const PrivateDirectory& directory : directories) {
    const std::string path =
        (directory.path.has_filename() ? directory.path : directory.path.parent_path()).native();
    if (!directory.path.is_absolute() || !directory.path.has_relative_path()) continue;
    for (size_t at = text.find(path); at != std::string::npos; at = text.find(path, at)) {
      if (!IsWhole(text, at, at + path.size())) {
        at += path.size();
        continue;
      }
      text.replace(at, path.size(), directory.name);
      at += directory.name.size();
    }
  }
  return text;
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakePathInterceptor(
    std::vector<PrivateDirectory> directories) {
  return std::make_unique<Factory>(std::move(directories));
}

}  // namespace wavefield::coordinator
