// A raw pointer does not survive an exception; the vector beside it does.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

class Parser {
public:
    explicit Parser(const std::string &text) : text_(text) {}

    int number()
    {
        if (text_.empty() || text_[0] < '0' || text_[0] > '9')
            throw std::invalid_argument("not a number: " + text_);
        return std::stoi(text_);
    }

private:
    std::string text_;
};

__attribute__((noinline)) static int parse(const std::string &text)
{
    Parser *parser = new Parser(text); // EXPECT leak definitely-lost bytes=64 blocks=2
    std::vector<int> digits(20, 7);
    int value = parser->number(); // throws over the raw pointer
    delete parser;
    return value + digits[3];
}

int main()
{
    for (const char *text : {"12", "twelve", "7", ""}) {
        try {
            std::printf("%d\n", parse(text));
        } catch (const std::exception &e) {
            std::printf("caught: %s\n", e.what());
        }
    }
    return 0;
}
