#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/server/permissions.h"
#include "coordinator/server/token_table.h"
#include "core/base/clock.h"
#include "core/base/file_stamp.h"

namespace wavefield::coordinator {

// Whom the server lets in, and what each may call: the token file and the table of permissions.
// Thread-safe.
class Access {
 public:
  // With an empty path everybody is an anonymous admin. Errors as TokenTable::Load's.
  static absl::StatusOr<std::unique_ptr<Access>> Open(const std::string& token_file,
                                                      const Clock& clock);

  // OK for a call of the method at `path` that brings `authorization`; `caller` is then who makes
  // it, as with PERMISSION_DENIED. UNAUTHENTICATED without a token, with a wrong or an expired one;
  // UNIMPLEMENTED for a method that is not in the table. Health checks are open to everybody.
  absl::Status Check(std::string_view path, const std::string& authorization, Caller& caller) const;

  // Who makes a call that was let in, though the file may have changed since.
  Caller CallerOf(const std::string& authorization) const;

  // Reads the token file again if it is another than before. One that cannot be used is logged, and
  // the tokens of before stay.
  void Refresh();

 private:
  using Table = std::shared_ptr<const TokenTable>;

  Access(std::string token_file, const Clock& clock)
      : token_file_(std::move(token_file)), clock_(clock) {}
  Table table() const;

  const std::string token_file_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  Table table_;
  Table earlier_;
  FileStamp stamp_;
};

}  // namespace wavefield::coordinator
