// The rule of three broken: a copied class frees its buffer twice.
#include <cstdio>
#include <cstring>

class Name {
public:
    explicit Name(const char *text) : text_(new char[std::strlen(text) + 1]) { std::strcpy(text_, text); }
    ~Name() __attribute__((noinline));
    const char *text() const { return text_; }

private:
    char *text_;
};

Name::~Name()
{
    delete[] text_; // EXPECT double-free
}
// SKIP optimised: the deletion is a jump, its line the callers'

__attribute__((noinline)) static size_t length(Name name)
{
    return std::strlen(name.text());
}

__attribute__((noinline)) static size_t work()
{
    Name name("copied by value");
    size_t n = length(name);
    return n;
}

int main()
{
    size_t n = work();
    std::printf("%zu\n", n);
    return 0;
}
