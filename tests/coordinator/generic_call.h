#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <string>

namespace wavefield::coordinator {

// Any method by its path, with one empty request, whatever it streams. `authorization`: the header;
// empty: none. After `seconds` the call is given up.
grpc::Status CallByPath(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                        const std::string& authorization, int seconds = 10);

}  // namespace wavefield::coordinator
