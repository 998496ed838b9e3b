/*-------------------------------------------------------------------------
 *
 * state.c
 *	  Which state may follow which.
 *
 * One table holds every legal transition; the view billing.state_transition
 * shows it.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "trigger.h"

BILLING_FUNCTION(billing_is_legal_transition);
BILLING_FUNCTION(billing_state_guard);
BILLING_FUNCTION(billing_state_transitions);

#define MAX_NEXT 6

/* A state of an object and those that may follow it: none after a final one. */
typedef struct State
{
	const char *object;
	const char *name;
	const char *next[MAX_NEXT + 1]; /* ends in NULL */
} State;

static const State states[] = {
	{"subscription", "pending", {"trialing", "active", "expired", "canceled"}},
	{"subscription", "trialing", {"active", "past_due", "paused", "canceled", "expired"}},
	{"subscription", "active", {"past_due", "paused", "suspended", "canceled", "expired"}},
	{"subscription", "past_due", {"active", "suspended", "canceled"}},
	{"subscription", "suspended", {"active", "canceled", "expired"}},
	{"subscription", "paused", {"active", "canceled"}},
	{"subscription", "expired", {"active"}},
	{"subscription", "canceled", {NULL}},

	{"invoice", "draft", {"open"}},
	{"invoice", "open", {"paid", "void", "uncollectible"}},
	{"invoice", "uncollectible", {"paid", "void"}},
	{"invoice", "paid", {"open", "void"}},
	{"invoice", "void", {NULL}},

	{"notification", "waiting", {"sent", "failed", "expired", "skipped"}},
	{"notification", "sent", {"waiting"}},
	{"notification", "failed", {"waiting"}},
	{"notification", "expired", {"waiting"}},
	{"notification", "skipped", {"waiting"}},

	{"payment", "pending", {"processing", "requires_action", "succeeded", "failed", "canceled", "unknown"}},
	{"payment", "processing", {"requires_action", "succeeded", "failed", "canceled", "unknown"}},
	{"payment", "requires_action", {"processing", "succeeded", "failed", "canceled", "unknown"}},
	{"payment", "unknown", {"processing", "requires_action", "succeeded", "failed", "canceled"}},
	{"payment", "failed", {"succeeded"}},
	{"payment", "canceled", {"succeeded"}},
	{"payment", "succeeded", {"refunded", "reversed"}},
	{"payment", "refunded", {"succeeded"}},
	{"payment", "reversed", {NULL}},

	{"dispute", "open", {"won", "lost"}},
	{"dispute", "won", {NULL}},
	{"dispute", "lost", {NULL}},

	{"payment_method", "pending", {"active", "failed", "removed"}},
	{"payment_method", "active", {"expired", "failed", "removed"}},
	{"payment_method", "expired", {"active", "failed", "removed"}},
	{"payment_method", "failed", {"active", "removed"}},
	{"payment_method", "removed", {NULL}},

	{"refund", "pending", {"succeeded", "failed", "canceled"}},
	{"refund", "succeeded", {"failed"}},
	{"refund", "failed", {"succeeded"}},
	{"refund", "canceled", {"succeeded"}},

	{"tenant", "active", {"frozen"}},
	{"tenant", "frozen", {"active", "closed"}},
	{"tenant", "closed", {NULL}},
};

static const State *find_state(const char *object, const char *name);
static bool may_follow(const State *state, const char *next);
static const State *require_state(const char *object, const char *name);
static bool is_object(const char *object);
static void report_unknown_object(const char *object);
static void report_unknown_state(const char *object, const char *name);
static const char *list_objects(void);
static const char *list_states(const char *object);
static void append_item(StringInfo list, const char *item);
static const char *clip(const char *name);
static void report_illegal_transition(TriggerData *trigger, const State *from, const char *to);
static const char *list_next(const State *state);
static void put_transition(ReturnSetInfo *result, const State *state, const char *next);

static const State *
find_state(const char *object, const char *name)
{
	for (int i = 0; i < lengthof(states); i++)
	{
		if (strcmp(states[i].object, object) == 0 && strcmp(states[i].name, name) == 0)
			return &states[i];
	}
	return NULL;
}

static bool
may_follow(const State *state, const char *next)
{
	for (int i = 0; state->next[i] != NULL; i++)
	{
		if (strcmp(state->next[i], next) == 0)
			return true;
	}
	return false;
}

Datum
billing_is_legal_transition(PG_FUNCTION_ARGS)
{
	const char *object = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const State *from;
	const State *to;

	if (!is_object(object))
		report_unknown_object(object);
	from = require_state(object, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	to = require_state(object, text_to_cstring(PG_GETARG_TEXT_PP(2)));

	PG_RETURN_BOOL(may_follow(from, to->name));
}

static const State *
require_state(const char *object, const char *name)
{
	const State *state = find_state(object, name);

	if (state == NULL)
		report_unknown_state(object, name);
	return state;
}

static bool
is_object(const char *object)
{
	for (int i = 0; i < lengthof(states); i++)
	{
		if (strcmp(states[i].object, object) == 0)
			return true;
	}
	return false;
}

static void
report_unknown_object(const char *object)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("object \"%s\" has no states", clip(object)),
			 errdetail("Objects with states are: %s.", list_objects()),
			 errhint("Read the legal transitions from the view billing.state_transition.")));
}

static void
report_unknown_state(const char *object, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state \"%s\" of object \"%s\" does not exist", clip(name), object),
			 errdetail("Its states are: %s.", list_states(object)),
			 errhint("Read the legal transitions from the view billing.state_transition.")));
}

static const char *
list_objects(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(states); i++)
	{
		if (i == 0 || strcmp(states[i].object, states[i - 1].object) != 0)
			append_item(&list, states[i].object);
	}
	return list.data;
}

static const char *
list_states(const char *object)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(states); i++)
	{
		if (strcmp(states[i].object, object) == 0)
			append_item(&list, states[i].name);
	}
	return list.data;
}

static void
append_item(StringInfo list, const char *item)
{
	appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", item);
}

/*
 * clip
 *		What an error message shows of a name that a caller made up.
 */
static const char *
clip(const char *name)
{
	int			len = strlen(name);
	int			shown = pg_mbcliplen(name, len, 60);

	return shown < len ? psprintf("%.*s...", shown, name) : name;
}

/*
 * billing_state_guard
 *		Refuse an update of column status that the table of transitions does not know.
 *
 * A trigger BEFORE UPDATE FOR EACH ROW; its argument is the object.  An INSERT may
 * bring a row in any state: a restore does.
 */
Datum
billing_state_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	const State *from;
	const char *to;

	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) || trigger->tg_trigger->tgnargs != 1)
		elog(ERROR, "trigger \"%s\" is not for the update of an object", trigger->tg_trigger->tgname);

	from = require_state(trigger->tg_trigger->tgargs[0],
						 billing_trigger_text(trigger, trigger->tg_trigtuple, "status"));
	to = billing_trigger_text(trigger, trigger->tg_newtuple, "status");

	if (strcmp(from->name, to) != 0 && !may_follow(from, to))
		report_illegal_transition(trigger, from, to);
	return billing_trigger_pass(trigger);
}

static void
report_illegal_transition(TriggerData *trigger, const State *from, const char *to)
{
	const char *id = billing_trigger_text(trigger, trigger->tg_newtuple, psprintf("%s_id", from->object));

	ereport(ERROR,
			(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
			 errmsg("%s %s cannot go from %s to %s", from->object, id, from->name, clip(to)),
			 errdetail("object=%s id=%s from=%s to=%s", from->object, id, from->name, clip(to)),
			 from->next[0] == NULL ?
			 errhint("Nothing follows %s.", from->name) :
			 errhint("What may follow %s: %s.", from->name, list_next(from))));
}

static const char *
list_next(const State *state)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; state->next[i] != NULL; i++)
		append_item(&list, state->next[i]);
	return list.data;
}

/*
 * billing_state_transitions
 *		The table as rows: object, state, state that may follow.
 */
Datum
billing_state_transitions(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);

	for (int i = 0; i < lengthof(states); i++)
	{
		for (int j = 0; states[i].next[j] != NULL; j++)
			put_transition((ReturnSetInfo *) fcinfo->resultinfo, &states[i], states[i].next[j]);
	}
	return (Datum) 0;
}

static void
put_transition(ReturnSetInfo *result, const State *state, const char *next)
{
	Datum		values[3] = {
		CStringGetTextDatum(state->object),
		CStringGetTextDatum(state->name),
		CStringGetTextDatum(next)
	};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
