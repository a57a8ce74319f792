// CLEAN
// Reads records from standard input, sorts and prints them with manipulators.
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

struct Record {
    std::string name;
    double price;
    int count;
};

static std::istream &operator>>(std::istream &in, Record &r)
{
    return in >> r.name >> r.price >> r.count;
}

int main()
{
    std::vector<Record> records;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        Record record;
        if (in >> record)
            records.push_back(record);
        else
            std::cout << "skipped: " << line << '\n';
    }
    std::sort(records.begin(), records.end(),
              [](const Record &a, const Record &b) { return a.price * a.count > b.price * b.count; });
    for (const auto &r : records)
        std::cout << std::left << std::setw(28) << r.name << std::right << std::setw(10) << std::fixed
                  << std::setprecision(2) << r.price * r.count << '\n';
    return 0;
}
