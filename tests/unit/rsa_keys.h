/* RSA keys that are always the same: to make one takes a tenth of a second, and under valgrind ten.
 * They are of no use outside these tests. */
#pragma once

#include <openssl/pem.h>

#include "unit.h"

#include "auth/key.h"

enum rsa_key { RSA_A, RSA_B, RSA_C, RSA_SMALL /* 1024 bits: refused as a key */ };

static const char *const rsa_pem[] = {
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCduF09n9HpUX6V\n"
    "Y9Y85XsXjWRgfYKMBoW0qRo/asrQ3ffFsfZTkOa/ACbNpSPrf7uO437c9caFMnGl\n"
    "xlSX9wexCq1gMqL1FA1vycZpFwYgCb7NY3lnK6x7i8cG/yZkzLsJQzBsMB2xPbyJ\n"
    "hRxPFzZLBYxW5X9wU/lL0xKeDGUTw/zvY/0Vvp3y7N9UIkuwZ30xgXMW+UR6q27v\n"
    "/okkai3v8eHr3VcwV8Q1wsOviTSck3W8qRG71QnzHAUYL/BQnvJA7IFTZkIXzsE+\n"
    "5S1691Fa++wLflXOqOos6cO2mxHmXELhtbFvRBpuJX9K4FG8BwKd5Leftv+DdSU5\n"
    "KyHgeDZdAgMBAAECggEABorTv08mV23MeOjrxZnlSbxROhlqtWE94ZkUICZPZGuY\n"
    "sAgqRhwgHjMk6OndPBMP1iUEqai+Q98sTKqV7rnOBV+CgpeHH/BlgEoX41sTo3eU\n"
    "BRQHwKpUnMlXB6jE0HCXn5I8a3hxet0rOW8elf9J/sGrqR0a9K9fC3CleI3eEXxC\n"
    "epSopn8SCMzagA5g4VqAnx1UDtYYnQuaPfQnK2cremuw3XHmIui5vfgnvW2/TWFB\n"
    "qMj6r9afI4FXR2PgW5Zo5TJTeT3aAdjw/QfvWpv/ItfnYzH1r/Rxo9yuaBIwEkd/\n"
    "XH/K/QYrpDX2ggjJLW81nUHtLHI4iglyNk1FmwmARwKBgQDe6/mL8UaY6BC5GjjN\n"
    "c4FLx91LtSf3ii7zoJnjqB5CuGlCCiq4JelOkOQLwpCWIJk9KgkLoy0qXoftYo/J\n"
    "dbJItagmM8bhradCx1S52+mEpFSczfSyOKwkEBr9hP4qoEhBcEe7xRi1BgdVVNnA\n"
    "wKqoI7/aEX/8F2hNhovirhGz0wKBgQC1H5tLUZozSretakeTExlUVqu33qwDnXSX\n"
    "ahmg9cpaSAtmMKJSf7uR+ICThW7TxbTokmBqNztYV0aokU8AV9y/zhtIMGa1zseA\n"
    "6wX8cg4PHjx/3qENHGbw7k4E4xEMVSOHxruOeNtWHYaTztLM2l1uidHEbJs2D5/F\n"
    "T7LLt0N/DwKBgFibr6uikg9BXzRUafOwT9qRbTMkpOhOMu+ADOti7fRTXPN1Gxnr\n"
    "Z9tk2GCcS+CAwKiBRusrR06qGJmRLdpEQEOKgXX96rXV0sBGfzUJZr7kmwVhEDyv\n"
    "Li1/gVr4PBcxcscgHENUysdZyBxxB8UIUE1ZOG8zuY24uCroqj3GNx8lAoGAfovX\n"
    "t5cLEr0oefwgh+y3LMrlbTEho+D2HfhecaxpNgzSEhL2xodCKSmjw+5dUY735+ql\n"
    "fHCcgQtxbcMgnE/HByfcveI7UNlpYHRUmV2i3wM0J+8HPR7T+Y+2aQmw1poBmhLK\n"
    "5i8gqBk29rxxYflLgDjAm+l5xBrEeVpGxLiFaxcCgYB/g8X9spkDPqoNM7dqPGKg\n"
    "UJqoZqBoHgB4r/WbioUkap8TUcFqoKOzSWOI60Rdge68dpRuFa+tMTiYK9B9zMdC\n"
    "gQNVk6Ec60sj8dloxi3CetvLBdiKOZbod2KEoMUkUwlKsxSTS33grIJmZ19xPSNx\n"
    "JwqU2nguLIcl76FwWYcnNQ==\n"
    "-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCIndklnxkeA/pD\n"
    "Gtr3v22krn0iLj5C1on/UQCuajRQUKAH2gunx3WaiImmPZsh+6OadZnTmS8mOmpw\n"
    "qqT29bbaExy/ckazD3e4AmH8dZyixKYA4CReR/moiYh5WE0UlserXyJi/OmCR8m2\n"
    "dbASeTyY3Lijzmh+WAQowMx+y6t0hoUNpRuWJw7JE5w7LINtNMmPzRsIxwtSJfUC\n"
    "kfkk2Z1NTEyUkTvMAFS4PC/cGoRFeLGoMGQxQpabDdecC6dTsI9Y7Hhq11AoIiTh\n"
    "NA7+gr2IObrV6onDv+wUOpSGD+tETX+RJ5DhrKKY2NIEA+tF8BCRI6przyzpiG6C\n"
    "76k+7fvlAgMBAAECggEAH2v60VHeA47TpVKMcXYogDuX0WBEdrgEhmI5n2QTAzQA\n"
    "Er4+dwkDzhbAXimGQFMx5mlNB6OQeiDucVp2VczfERpbPtdIVo/kr8BwjBH7BF7p\n"
    "dYMYKk0wqWh0qMA7/lPNuedIL+9Ov+XGCb7Yz+7tlpURrK9hTkntLvhlMHakyUh/\n"
    "UQiEHI+45me31AgiU/BvRxel1YPfHZeA9cXsAkdWXYzdAEH0a3HLB4g9f0dvCk1C\n"
    "KaJzCeJOsl2PVtUIH1yFzWkhTiSXCOehiVtcTbxYVB37V0AFZNrEvQKFXaK148tp\n"
    "IaLw9s3FZSd3MOdKiVSPrEkzzzl0t9vtFkv8QauEMQKBgQC+BAxo69OKtbdFv1HR\n"
    "DOpUsSNRapddafrQIdoalXGFJJkeP3+Z8fsZu+YVIh2SHAFDcrI3XzNg8mxvfFIz\n"
    "pM3pHfKqMUQK6A+C7iONkCe2MtT2fbUKx8NIekRnoKfp5v7j4WWvYo6n66vl8jpJ\n"
    "4YrD07pCGqNIhMEvEskfwoStrQKBgQC4DryfujvrBvGcIPFJgrY61BEbjUI9cXGX\n"
    "K/T4lXsWgUgd0FgPQJJFGAPI/kvykMnrclwRwp/DSguZyzm4W4cy/YW4VB9Hbshu\n"
    "1FoGMpJB+mHuc3pt7TM0jxROXipwnU3YW+8ut1QNFnmn7yIZJh2hKs3jcJhF4+n4\n"
    "rDpuqHHeGQKBgCbGsLmglnTSDGqBVnLwzckmtOxici0v+W0L23RdVuMyysRvdNy3\n"
    "kuR3gcaCRcKRUHixKUk/dj6sehBuMGA1m4edAu5US2xmWvP/IOY8qr31tZvvn0hp\n"
    "56IcwWTcVifXaeCbGKMn27DM2TF9swNssWKxDGt9ACFGZh3zGXQPv/+pAoGASlWJ\n"
    "UGkCcfUn9wpG6I1l03R6REpUikQawBb8pLiaMYic+419QwutB0KfpLkvKxPWuMRC\n"
    "8tlLdK+e58nv0ckFXU6OhtdSmqLfSANzKDWcZBEfJBJ3S5YUrBFs/gmB0mF1YwAe\n"
    "JRvdUjvVfkFR4B5IsSJ8bHK4zOEzST8lijN1aWECgYEAoTWOI/6irzEGBrZ9QMUA\n"
    "vSRA40r1XMgRJ+5/b5QdiyDhhMOjjKKPie7MbCOgB4A/rUaecfllmcQYGXXZmLYY\n"
    "2vGGxRe9JBujbyTFuHJ+lUKzRn4H8+7OG25nvi4US2VMCxJty1pkLdfRpw9shgSH\n"
    "9ojmRYmq/DyQ8nhTMMRcPh8=\n"
    "-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQD0hloyIaKhMLIQ\n"
    "h0+GbTUf/rZCtLgdhmJ8PQ6aW2EYTsm1nNlJuT0yDKj8Ho2wtjTQSbqfcg3HzKPZ\n"
    "dD3VBOTwxa1HgiwieVD5KBJBXiuop0tOJzoLrqIq+HC8yu0GDFFwSBTCBJvUBZVW\n"
    "klJwda/hY1VndlH1dR0/ful2ZCVLqTaPKaabk8fnM3HAUeMmGYskSVoQzPshf0uD\n"
    "eTP+Fh2e3omXrVP7bLYJ7F8WzKLcs+K0utWuMk3HTP0DTNCBvGJv64hy9CgKyxsX\n"
    "olPetS0Tg/eEndp9XkB/0Vb7hh4mRoA99RykXwgSIXAHR/hn9Db6r3ez3MIag2aT\n"
    "H6rCrS+tAgMBAAECggEAATBPefppsGy47X9L0nZqkDfGLdwbUUIyMmiwbHcZX4aN\n"
    "JISM5QWbB8PGuMJGkrbKMtJ7Fq2c+ab3gaOFxpUUfU07esgv2rNvAozqYGs+c2+w\n"
    "6vhJlEc6iWZJcT9b/UY18MGfaUmpo+IqrjTPKb/VVFdXuTG1xMn+3Ynn9oa9/b/p\n"
    "HiI8VdlBEnMq88tpxbQu29SUxsWlq9EmTJn9XmGAicsn6WeqNEW1kcR/QpE1op3u\n"
    "p5qI6RyHf3KOlbLEBt2eMOL/V6Stp3+Ce9jxN3FR7hBWCE7C/5fFmSBkU2RtEOZp\n"
    "jPr5BX9sBf/yD7Js7ezGyKCClqo+mmhrl8xBXQXO0QKBgQD7vieakxNJ2ZsCkZ+J\n"
    "+AL7D+uy1N3TWLIrmWFGVOMD/yhFSR//LQpWdurbpezTr/K1Gt4qdeTvKmW85fPX\n"
    "c+Ab2mmgdP81JSf14ZVnrVQs46gnk+3qPfxVT47fUN0NJKr2GiuIGFFO9QwLb+wT\n"
    "tLqXLV+x7+MZF/e98/+zHAMpkQKBgQD4qPMVQJl3Iu2MJ65ims0BZY4CvNKBg7AG\n"
    "8UNTxCjjpJAC/KuHwcR0DUYRrMrRF2BGMBevgaA2/wNRJ4b2uTBGnHbUBco/Gwhb\n"
    "lE7KiY1EHcgsE1epAVcaYnEMZkRB7eRr/FWECWcRPV+D8BTxSla1QA6PZv5AGs1s\n"
    "ZfMCqVq2XQKBgDmZaZBZhHlKO8hbr2gvAeeV3fT99X9M9P86yeIAvCyG7hzkPVjy\n"
    "YkIkVVpKXaSVxm+fpSOL9ASw67RL3P33+lgFIlPfUSFEzh7ZLYkaRH8825WqqC4H\n"
    "XrvaRzNbWiiOsjs7A6jQ/5GUSdw4EIj1uheq/xFEdO6h6EJjGKdPin2xAoGAR473\n"
    "RWptv6dBjU/uE1pRHNHI6GjGe5cWFSlhIr4Utk4pU3K7Ojo8+tjHDVcYlsuPXSOB\n"
    "7XP0U19X6QbjBCWPCwMD/0gbR8XTxecMNaUYDj4z2NtIIs7L7j/eIJ9djUuUrK7V\n"
    "PUYnbwKmdiWlITsvcMGabxJIoNIVw9gi8uUhwdECgYAkJtoWDgf2IMujMsvRGwwE\n"
    "a3e14HrscKankycw+lFHv4nGnES4X9CjrVmBwf0rkKpAAuvmd5IzTAQSY8F52Gca\n"
    "5Qc4PoGOiBdtKn5YoIn6+SWYrfN2nppaqXVJryeQkiIqjgUZUFwTncU4d9eSekzM\n"
    "JHconWbePEsfSTrYpQoIDA==\n"
    "-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\n"
    "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBANkRwmvnsvOY+jLZ\n"
    "+6uV87PCdTnqm8KbAXRWJ/XIm7ZZLqcMIdh6QSvjuM+Tv8ddHsj/ZADvKM740kus\n"
    "4zkWK6+S187cIjIcfSdIq9xnXWxNIZHYycV6MP9RtkukQ73vcxjwAhBMH2vqrIch\n"
    "tXctXW5bbhk8lQZAnqsHy2FXSYzNAgMBAAECgYEAy0cLWDuh5OfEnmxud5A0qYmY\n"
    "eAVRmlvIb+bjAxO7Znd77em5pF1QvMZD4vhNJ2j4FGi+gPV2tORlI4MjQumVO9rU\n"
    "uTiMvMyIwHSeiy/myCcS3fQYwBAPF4Unle6pyrhDi1ctu+RiEgMjUN/xakNqE85W\n"
    "C7tbmEBRRYOXC7IAB80CQQD9PUf2Tc7E4qn3oaafOGnvlYTFRStjuGbRIdQ7uXS8\n"
    "2A3FnBKHbA0z5hAcAh3Zudtc0H9QdQrtCxqYeZU9RKXnAkEA22+JxldgEiI95EVy\n"
    "QicaW92xtLdAl0pCamr3drCp5ySg7hppqRiA7Odb7MsFDEsG1wxQOUDl/9l/3xwk\n"
    "SPz5KwJALubsrxeWFi0M4cpUu+SM6ky8/HRlJuD+Wflz/2PH1ToGwvS3EdHXWCdi\n"
    "EG3r7WlY0YXkLpie32xRDrBmDaTrPQJAHpb97dhgXCbJ2fiUZQRueD//deHV70E6\n"
    "4ProZHNcPAyvIoIsGJaB4oSeG/RxT7VlzrS4ukKBzZjUapXRuRsK4QJAJmZW1fGX\n"
    "E/aHQqNfvn+KOzE5P/xbL8RogcpPPopgC3eeRpn4FiGMKZpgePISHVx24W/UsfR3\n"
    "8QjzbcKN1x/aUQ==\n"
    "-----END PRIVATE KEY-----\n",
};

static inline EVP_PKEY *rsa_pkey(enum rsa_key n)
{
    BIO *bio = BIO_new_mem_buf(rsa_pem[n], -1);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_non_null(pkey);
    BIO_free(bio);
    return pkey;
}

static inline struct key *rsa_key(enum rsa_key n)
{
    struct key *key = NULL;
    assert_int_equal(key_from_pem(str_from(rsa_pem[n]), &key, NULL), 0);
    return key;
}

/* RSA_A for the algorithms of RSA, a new key for others. */
static inline struct key *any_key(enum alg alg)
{
    struct key *key = NULL;
    if (alg >= ALG_RS256 && alg <= ALG_PS512)
        return rsa_key(RSA_A);
    assert_int_equal(key_generate(alg, &key, NULL), 0);
    return key;
}
