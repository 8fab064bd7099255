#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wavefield::coordinator {

// What a token allows. A viewer looks; a user also has jobs, datasets and checkpoints; an admin may
// do everything. A worker may do what worker processes do, and nothing else.
enum class Role { kViewer, kUser, kWorker, kAdmin };

// "viewer", "user", "worker" or "admin".
const char* NameOf(Role role);
std::optional<Role> RoleOf(std::string_view name);

// Who makes a call. Without a token file: everybody.
struct Caller {
  std::string name = "anonymous";
  Role role = Role::kAdmin;
};

struct MethodRule {
  std::string_view method;  // "JobService.CreateJob"
  Role least;
  bool audited;  // it changes something that people answer for: there is an entry for each call
};

// Of "/wavefield.v1.JobService/CreateJob" or another path of the server's methods; null for what is
// no method of it. Health checks are not in the table: they are open to everybody.
const MethodRule* RuleFor(std::string_view path);

bool Allows(Role has, Role least);

}  // namespace wavefield::coordinator
