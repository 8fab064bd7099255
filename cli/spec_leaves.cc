#include "cli/spec_leaves.h"

#include <nlohmann/json.hpp>

#include "proto/rpc/json.h"

namespace wavefield {
namespace {

void Flatten(const std::string& path, const nlohmann::json& value,
             std::map<std::string, std::string>& leaves) {
  if (!value.is_object()) {
    leaves[path] = value.is_string() ? value.get<std::string>() : value.dump();
    return;
  }
  for (const auto& [key, child] : value.items()) {
    Flatten(path.empty() ? key : path + "." + key, child, leaves);
  }
}

}  // namespace

std::map<std::string, std::string> SpecLeaves(const v1::JobSpec& spec) {
  std::map<std::string, std::string> leaves;
  Flatten("", nlohmann::json::parse(ToJson(spec)), leaves);
  return leaves;
}

}  // namespace wavefield
