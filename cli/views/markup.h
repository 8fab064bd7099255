#pragma once

#include <string>

namespace wavefield {

// Text as it may stand in HTML and XML, also between quotes of an attribute: & < > " ' become
// references, control characters that XML forbids U+FFFD. `text` is UTF-8.
std::string EscapeMarkup(const std::string& text);

}  // namespace wavefield
