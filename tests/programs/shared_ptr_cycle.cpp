// Parent and child own each other: the counts never reach zero.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

struct Person {
    explicit Person(int age) : age(age) {}
    int age;
    std::shared_ptr<Person> other;
};

__attribute__((noinline)) static std::shared_ptr<Person> person(int age)
{
    return std::shared_ptr<Person>(new Person(age)); // EXPECT leak definitely-lost bytes=24 blocks=1 /* EXPECT leak indirectly-lost bytes=72 blocks=3 */
}

__attribute__((noinline)) static int couple()
{
    auto a = person(30), b = person(31);
    a->other = b;
    b->other = a;
    return a->other->age + static_cast<int>(a.use_count());
}

__attribute__((noinline)) static int friends()
{
    auto a = person(40), b = person(41);
    a->other = b;
    std::weak_ptr<Person> weak = a;
    return weak.lock()->other->age;
}

int main()
{
    int one = couple();
    std::printf("%d %d\n", one, friends());
    return 0;
}
