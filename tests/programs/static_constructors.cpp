// Objects built before main and destroyed after it; the singleton is kept on purpose and never destroyed.
#include <iostream>
#include <string>
#include <vector>

class Registry {
public:
    static Registry &instance()
    {
        static Registry *the = new Registry; // EXPECT leak still-reachable bytes=24 blocks=1
        return *the;
    }
    int add(int value)
    {
        if (values_.capacity() == 0)
            values_.reserve(16); // EXPECT leak still-reachable bytes=64 blocks=1
        values_.push_back(value);
        return value;
    }
    size_t size() const { return values_.size(); }

private:
    std::vector<int> values_;
};

static int first = Registry::instance().add(1);
static int second = Registry::instance().add(2);
static std::vector<std::string> words{"short", "a word long enough to be kept on the heap"};

struct Farewell {
    ~Farewell() { std::cout << "bye, " << words.size() << " words" << std::endl; }
} farewell;

int main()
{
    std::cout << Registry::instance().size() << ' ' << first + second << ' ' << words[1] << std::endl;
    return 0;
}
