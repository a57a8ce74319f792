// CLEAN
// Containers, smart pointers, exceptions and virtual calls, all in order.
#include <algorithm>
#include <deque>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

struct Animal {
    virtual ~Animal() = default;
    virtual std::string sound() const = 0;
};
struct Dog : Animal {
    std::string sound() const override { return "a bark that is long enough to need memory"; }
};
struct Cat : Animal {
    std::string sound() const override { return "meow"; }
};

static std::unique_ptr<Animal> make(const std::string &name)
{
    if (name == "dog")
        return std::make_unique<Dog>();
    if (name == "cat")
        return std::make_unique<Cat>();
    throw std::out_of_range("no such animal: " + name);
}

int main()
{
    std::vector<std::unique_ptr<Animal>> zoo;
    for (const char *name : {"dog", "cat", "cow", "dog"}) {
        try {
            zoo.push_back(make(name));
        } catch (const std::out_of_range &e) {
            std::cout << e.what() << '\n';
        }
    }
    for (const auto &animal : zoo)
        std::cout << animal->sound() << '\n';

    std::map<std::string, int> ages{{"ann", 31}, {"bob", 25}, {"cyd", 47}};
    std::unordered_map<int, std::string> back;
    for (const auto &[name, age] : ages)
        back[age] = name;
    std::set<int> sorted;
    for (const auto &entry : back)
        sorted.insert(entry.first);
    std::deque<int> queue(sorted.rbegin(), sorted.rend());
    std::list<std::string> names;
    for (int age : queue)
        names.push_front(back[age]);
    std::ostringstream out;
    for (const auto &name : names)
        out << name << ' ';
    auto shared = std::make_shared<std::vector<double>>(1000, 0.5);
    auto copy = shared;
    std::sort(copy->begin(), copy->end());
    std::cout << out.str() << copy.use_count() << ' ' << 1.0 / 3 << '\n';
    return 0;
}
