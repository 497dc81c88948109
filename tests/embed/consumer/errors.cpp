// Somebody else's handler: asks an error of the library's for its type, in every way there is.

#include <agentsight/agentsight.hpp>
#include <exception>
#include <typeinfo>

int main() {
    agentsight::Options options;
    options.connections = -1;
    try {
        const agentsight::ConversationManager manager{options};
    } catch (const std::exception& error) {
        const auto* const ours = dynamic_cast<const agentsight::Error*>(&error);
        const auto* const standard = dynamic_cast<const std::system_error*>(&error);
        std::rethrow_if_nested(error);  // it is not; but is asked by dynamic_cast
        return ours && standard && typeid(error) == typeid(agentsight::Error) &&
                       ours->code() == agentsight::errc::invalid_option &&
                       typeid(ours->code().category()) != typeid(std::error_category)
                   ? 0
                   : 1;
    }
    return 2;
}
