#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/store/store.h"
#include "core/base/clock.h"

namespace wavefield::coordinator {

// "a" of "jobs/a" for collection "jobs". INVALID_ARGUMENT unless `name` is of that form, with an id
// as IsResourceId allows.
absl::StatusOr<std::string> IdOf(const std::string& collection, const std::string& name);
// [a-z][a-z0-9-]{0,62}
bool IsResourceId(const std::string& id);

// An error about one field, with BadRequest details.
absl::Status InvalidField(const std::string& field, const std::string& description);

// What a page holds at most, as it is stored, whatever page size was asked for: the rest is on the
// next one.
inline constexpr size_t kMaxListBytes = 3 << 20;
// The page size in force; INVALID_ARGUMENT for a negative one. Larger ones are cut to `limit`.
absl::StatusOr<int> PageSize(int requested, int default_size, int limit);

// Page tokens: opaque to clients. `scope` is what the token belongs to (a parent, a filter): a
// token used elsewhere is INVALID_ARGUMENT.
std::string MakePageToken(const std::string& scope, const std::string& position);
// "" for an empty token.
absl::StatusOr<std::string> ParsePageToken(const std::string& scope, const std::string& token);
// The scope of a list that is filtered and ordered; short, however long these are.
std::string ListScope(const std::string& list, const std::string& filter,
                      const std::string& order_by);
// The error about a token that holds no position of its list.
absl::Status NotGivenOut();

// Of a request with its request id taken out: equal for equal requests.
std::string PayloadHash(const google::protobuf::Message& request);

// The answer given earlier to this request id: fills `answer` and returns true. INVALID_ARGUMENT
// (reason REQUEST_ID_REUSED) when the payload was another.
absl::StatusOr<bool> FindAnswer(StoreReader& reader, const std::string& method,
                                const std::string& request_id, const std::string& payload_hash,
                                google::protobuf::Message& answer);
absl::Status KeepAnswer(Transaction& transaction, const std::string& method,
                        const std::string& request_id, const std::string& payload_hash,
                        const google::protobuf::Message& answer, absl::Time now);

// Runs `work`, which fills `answer`, in a transaction, unless this request id was answered before:
// then `answer` is what was said.
absl::Status WriteOnce(Store& store, const Clock& clock, const std::string& method,
                       const google::protobuf::Message& request, const std::string& request_id,
                       google::protobuf::Message& answer,
                       const std::function<absl::Status(Transaction&)>& work);

}  // namespace wavefield::coordinator
