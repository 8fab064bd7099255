#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace wavefield::coordinator {

// A directory of this host that clients know by another name.
struct PrivateDirectory {
  std::filesystem::path path;  // one that is not absolute, or the root, is left as it is
  std::string name;
};

// `text` with the directories' names in the place of their paths. Of one inside another, the inner
// one comes first.
std::string WithoutPaths(std::string text, const std::vector<PrivateDirectory>& directories);

// An interceptor that applies WithoutPaths to the messages of the errors that calls end with, not
// to their details. Goes behind those that change errors.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakePathInterceptor(
    std::vector<PrivateDirectory> directories);

}  // namespace wavefield::coordinator
