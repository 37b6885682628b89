/* Revoking tokens in order to see them refused. */
#include <errno.h>
#include <math.h>

#include "base/clock.h"
#include "cli/audit_internal.h"
#include "cli/dev_key.h"
#include "cli/dev_place.h"
#include "cli/kept_store.h"

struct key *audit_find_maker(const struct audit *a)
{
    struct key *key;
    struct err err;
    bool is_dev = str_eq(a->issuer, dev_place_issuer(a->config_file));
    return is_dev && dev_key_get(a->config_file, ALG_RS256, &key, &err) == 0 ? key : NULL;
}

static int write_down(const struct audit *a, const struct revocation *revocation, struct err *err)
{
    const struct config_options options = {.file = a->config_file,
                                           .defaults = dev_place_defaults(a->config_file)};
    struct config *config = config_load(&options, err);
    if (config == NULL)
        return -EINVAL;
    int rc = kept_store_revoke(a->config_file, config, revocation, err);
    config_free(config);
    return rc;
}

int audit_revoke(const struct audit *a, struct str kind, struct str id, struct str issuer,
                 struct err *err)
{
    double now = floor(clock_now());
    enum revocation_kind of = str_eq(kind, STR("sub"))   ? REVOCATION_SUB
                              : str_eq(kind, STR("sid")) ? REVOCATION_SID
                                                         : REVOCATION_JTI;
    uint32_t before = of == REVOCATION_SUB ? (uint32_t)now : REVOCATION_ALWAYS;
    const struct revocation revocation = revocations_make(of, issuer, id, before, now);
    return write_down(a, &revocation, err);
}
