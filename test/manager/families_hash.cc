// Hashes in the scenarios of Redis's own suite, from what the manual of Redis says of each command.
#include "families.h"

// A hash with so many fields f0 v0, f1 v1, ...
static void set_fields(const char *key, int count)
{
    for (int i = 0; i < count; i += 50) {
        char line[2000];
        size_t n = (size_t)sprintf(line, "HMSET %s", key);
        for (int k = i; k < i + 50 && k < count; k++)
            n += (size_t)sprintf(line + n, " f%d v%d", k, k);
        gives(line, "OK");
    }
}

FAMILY_CASE(test_set_and_get)
{
    gives("HSET h a 1 b 2", "2");
    gives("HSET h a 3 c 4", "1");
    gives("HMSET h d 5 a 6", "OK");
    gives("HGET h a", "6");
    gives("HGET h no", "nil");
    gives("HGET no a", "nil");
    gives("HMGET h a no d", "[6 nil 5]");
    gives("HMGET no a b", "[nil nil]");
    gives("HLEN h", "4");
    gives("HEXISTS h a", "1");
    gives("HEXISTS h no", "0");
    gives_sorted("HKEYS h", "[a b c d]");
    gives_sorted("HVALS h", "[2 4 5 6]");
    gives_sorted_pairs("HGETALL h", "[a 6 b 2 c 4 d 5]");
    gives("HGETALL no", "[]");
    gives("HSET h", "-ERR wrong number of arguments for 'hset' command");
    gives("HSET h a", "-ERR wrong number of arguments for 'hset' command");
    gives("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command");
    gives("HMSET h a", "-ERR wrong number of arguments for 'hmset' command");
    gives("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command");
    gives("HGET h a", "6");
}

FAMILY_CASE(test_set_if_there_is_none)
{
    gives("HSETNX h a 1", "1");
    gives("HSETNX h a 2", "0");
    gives("HSETNX h b 3", "1");
    gives("HMGET h a b", "[1 3]");
    gives("HSET h a 4", "0");
    gives("HSETNX h a 5", "0");
    gives("HGET h a", "4");
}

FAMILY_CASE(test_length_of_a_value)
{
    gives("HSET h a hello b  n -255 z 99999", "4");
    gives("HSTRLEN h a", "5");
    gives("HSTRLEN h b", "0");
    gives("HSTRLEN h n", "4");
    gives("HSTRLEN h z", "5");
    gives("HSTRLEN h no", "0");
    gives("HSTRLEN no a", "0");
}

FAMILY_CASE(test_delete)
{
    gives("HSET h a 1 b 2 c 3", "3");
    gives("HDEL h no", "0");
    gives("HDEL h a no a", "1");
    gives("HDEL h b c d e", "2");
    gives("EXISTS h", "0");
    gives("HDEL h a", "0");
}

FAMILY_CASE(test_wrong_type)
{
    gives("RPUSH l a", "1");
    all_give({"HSET l a 1", "HMSET l a 1", "HSETNX l a 1", "HGET l a", "HMGET l a", "HDEL l a",
              "HLEN l", "HEXISTS l a", "HSTRLEN l a", "HKEYS l", "HVALS l", "HGETALL l",
              "HINCRBY l a 1", "HINCRBYFLOAT l a 1", "HRANDFIELD l", "HRANDFIELD l 1 WITHVALUES",
              "HSCAN l 0"},
             WRONG_TYPE);
    gives("HINCRBYFLOAT l a word", "-ERR value is not a valid float");
    gives("HINCRBY l a word", NO_INTEGER);
    gives("LLEN l", "1");
}

FAMILY_CASE(test_increments)
{
    gives("HINCRBY h n 2", "2");
    gives("HINCRBY h n 3", "5");
    gives("HSET h n 17179869184", "0");
    gives("HINCRBY h n 17179869184", "34359738368");
    gives("HINCRBY h n word", NO_INTEGER);
    gives("HSET h text abc big 9223372036854775807 small -9223372036854775808 frac 1.5", "4");
    gives("HINCRBY h text 1", "-ERR hash value is not an integer");
    gives("HINCRBY h frac 1", "-ERR hash value is not an integer");
    gives("HINCRBY h big 1", "-ERR increment or decrement would overflow");
    gives("HINCRBY h small -1", "-ERR increment or decrement would overflow");
    gives("HGET h big", "9223372036854775807");
}

FAMILY_CASE(test_fractions)
{
    static const char NO_FLOAT[] = "-ERR value is not a valid float";
    gives("HINCRBYFLOAT h n 2.5", "2.5");
    gives("HINCRBYFLOAT h n 2.5", "5");
    gives("HGET h n", "5");
    gives("HINCRBYFLOAT h n 0.1", "5.1");
    gives("HSET h n 17179869184", "0");
    gives("HINCRBYFLOAT h n 17179869184", "34359738368");
    gives("HINCRBYFLOAT h n -0.5", "34359738367.5");
    gives("HINCRBYFLOAT h m 1.23", "1.23");
    gives("HINCRBYFLOAT h m -1.23", "0");
    gives("HINCRBYFLOAT h n word", NO_FLOAT);
    gives("HINCRBYFLOAT h n nan", NO_FLOAT);
    gives("HINCRBYFLOAT h n inf", "-ERR value is NaN or Infinity");
    gives("HINCRBYFLOAT no n -inf", "-ERR value is NaN or Infinity");
    gives("EXISTS no", "0");
    gives("HSET h text abc", "1");
    gives("HINCRBYFLOAT h text 1", "-ERR hash value is not a float");
    gives("HSET h text ", "0");
    gives("HINCRBYFLOAT h text 1", "-ERR hash value is not a float");
    each_replies("*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$4\r\ntext\r\n$3\r\n 1 \r\n", ":0\r\n");
    gives("HINCRBYFLOAT h text 1", "-ERR hash value is not a float");
}

// ---- At random ----

// The fields that are given are there, and if they have values, it is theirs: how many differ.
static size_t different(int side, const char *line, bool values, size_t *count)
{
    static bool seen[20000];
    size_t different = 0;
    memset(seen, 0, sizeof seen);
    const char *r = ask(&at[side], line);
    span *items = items_of({r, strlen(r)}, values ? 2 : 1, count);
    for (size_t i = 0; i < *count; i++) {
        int number = atoi(strchr(items[i].p, 'f') + 1);
        if (values)
            assert_int_equal(atoi(strchr(items[i].p, 'v') + 1), number);
        different += !seen[number];
        seen[number] = true;
    }
    free(items);
    return different;
}

FAMILY_CASE(test_random_fields)
{
    size_t n;
    set_fields("h", 100);
    for (int s = 0; s < sides_there; s++)
        for (bool values : {false, true}) {
            const char *with = values ? " WITHVALUES" : "";
            for (int count : {1, 5, 50, 99, 100, 200}) {
                size_t most = count < 100 ? (size_t)count : 100;
                assert_int_equal(
                    different(s, line_of("HRANDFIELD h %d%s", count, with), values, &n), most);
                assert_int_equal(n, most);
                different(s, line_of("HRANDFIELD h -%d%s", count, with), values, &n);
                assert_int_equal(n, count);
            }
            assert_true(different(s, line_of("HRANDFIELD h -1000%s", with), values, &n) > 90);
        }
    gives("HSET one a 1", "1");
    gives("HRANDFIELD one", "a");
    gives("HRANDFIELD one 3", "[a]");
    gives("HRANDFIELD one 3 WITHVALUES", "[a 1]");
    gives("HRANDFIELD one -3", "[a a a]");
    gives("HRANDFIELD one -2 withvalues", "[a 1 a 1]");
    gives("HRANDFIELD one 0", "[]");
    gives("HRANDFIELD no", "nil");
    gives("HRANDFIELD no 3", "[]");
    gives("HRANDFIELD no -3 WITHVALUES", "[]");
}

FAMILY_CASE(test_random_fields_errors)
{
    gives("HSET h a 1", "1");
    gives("HRANDFIELD h word", NO_INTEGER);
    gives("HRANDFIELD no word", NO_INTEGER);
    gives("HRANDFIELD h 1 WITHVALUE", SYNTAX);
    gives("HRANDFIELD h 1 WITHVALUES 2", SYNTAX);
    gives("HRANDFIELD h WITHVALUES", NO_INTEGER);
    gives("HRANDFIELD h -9223372036854775808",
          "-ERR value is out of range, value must between -9223372036854775807 and "
          "9223372036854775807");
    gives("HRANDFIELD h -4611686018427387904 WITHVALUES", "-ERR value is out of range");
    gives("HRANDFIELD h 4611686018427387904 WITHVALUES", "-ERR value is out of range");
}

// So many that no reply could hold them end the connection at once, and nobody else waits for that.
CASE(test_too_many_random_fields)
{
    raw one, other;
    raw_open(&one, address_of[OURS]);
    raw_open(&other, address_of[OURS]);
    says(&one, "HSET many a 1", ":1\r\n");
    raw_ask(&one, "HRANDFIELD many -9223372036854775807");
    assert_true(raw_ended(&one, weft_in_s(RAW_SECONDS)));
    says(&other, "HLEN many", ":1\r\n");
    raw_close(&one);
    raw_close(&other);
}

FAMILY_CASE(test_resp3)
{
    speak_resp3();
    gives("HSET h a 1", "1");
    gives("HGETALL h", "{a 1}");
    gives("HGETALL no", "{}");
    gives("HRANDFIELD h 2 WITHVALUES", "[[a 1]]");
    gives("HRANDFIELD h -2 WITHVALUES", "[[a 1] [a 1]]");
    gives("HRANDFIELD h 2", "[a]");
    gives("HRANDFIELD no", "nil");
    gives("HRANDFIELD no 1 WITHVALUES", "[]");
    gives("HINCRBYFLOAT h a 0.5", "1.5");
    gives("HSCAN h 0", "[0 [a 1.5]]");
    gives("INCRBYFLOAT n 0.5", "0.5");
}

RUN_FAMILY()
